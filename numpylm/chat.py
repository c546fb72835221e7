"""A published model with its tokenizer, and a conversation with it as one text.

messages --template--> text --tokenizer--> ids --model--> ids --tokenizer--> the answer

A model that answers was trained on conversations written in one way, which its files tell as a
template in the language Jinja. Here is the plain part of that language:

    {{ x }}   {% for m in messages %} … {% endfor %}   {% set x = … %}   {# … #}
    {% if … %} … {% elif … %} … {% else %} … {% endif %}
    texts and numbers, + and %, [ ] with an index or a slice, . with a name, == != < > in,
    and, or, not, a if b else c, is [not] defined, none or string, | trim, | length, .strip(),
    .startswith(x), .endswith(x), loop.first, loop.last, loop.index, loop.index0,
    raise_exception(x), and - beside a tag, as in {%-, which trims

Anything else in a template is refused by name.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .errors import InputError

Message = Mapping[str, str]  # its role ("system", "user" or "assistant") and its content
Names = dict[str, Any]


class PretrainedText(NamedTuple):
    """A model with the tokenizer that belongs to it.

    begin_ids stand before every text, each of end_ids ends one; chat is the template of a
    conversation, "" without one, and names the texts that it may use, like bos_token.
    """

    model: Any
    tokenizer: Any
    end_ids: tuple[int, ...] = ()
    chat: str = ""
    begin_ids: tuple[int, ...] = ()
    names: Mapping[str, str] = {}

    def ids(self, text: str) -> Array:
        """The ids (n,) of a text to continue, with those that stand before every text."""
        return np.concatenate([np.array(self.begin_ids, np.intp), self.tokenizer.encode(text)])

    def chat_ids(self, messages: Sequence[Message] | str) -> Array:
        """The ids (n,) of a conversation, up to where the answer begins; a text is one question.

        Raises InputError where the model has no template, or one beyond the plain part of Jinja.
        """
        if not self.chat:
            raise InputError("this model has no chat template: it continues a text, as a prompt")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        ids: Array = self.tokenizer.encode(conversation(self.chat, messages, self.names))
        return ids


def conversation(
    template: str, messages: Sequence[Message], names: Mapping[str, str] | None = None
) -> str:
    """A conversation as the text that a template makes of it, up to where the answer begins.

    Like transformers' apply_chat_template with add_generation_prompt, tokenize=False.
    Raises InputError for what is beyond the plain part of Jinja, and for what the template refuses.
    """
    known = {**(names or {}), "messages": list(messages), "add_generation_prompt": True}
    return "".join(_written(_parsed(template), known))


# ---- the tree of a template --------------------------------------------------------------------

TAG = re.compile(r"\{%([-+]?)(.*?)([-+]?)%\}|\{\{(-?)(.*?)(-?)\}\}|\{#(-?).*?(-?)#\}", re.DOTALL)


class _Put(NamedTuple):
    what: ast.expr


class _Set(NamedTuple):
    name: str
    to: ast.expr


class _For(NamedTuple):
    name: str
    over: ast.expr
    body: list[Any]


class _If(NamedTuple):
    cases: list[tuple[ast.expr, list[Any]]]


def _parsed(template: str) -> list[Any]:
    parts = _parts(template)
    nodes, end = _nodes(parts)
    if end:
        raise InputError(f"the chat template has {end!r} with nothing before it to end")
    return nodes


def _parts(template: str) -> Iterator[tuple[str, str]]:
    """("text" or "put" or "do", what), with the white space around tags as transformers trims it.

    A line break after {% … %} goes, and so do blanks before it at the start of a line.
    """
    start, trim = 0, ""
    for tag in TAG.finditer(template):
        before, kind = template[start : tag.start()], tag[0][:2]
        before = before.lstrip() if trim == "-" else before.removeprefix(trim)
        left, right = (
            next(filter(None, marks), "") for marks in (tag.group(1, 4, 7), tag.group(3, 6, 8))
        )
        if left == "-":
            before = before.rstrip()
        elif kind != "{{" and left != "+":
            line = before.rpartition("\n")
            if not line[2].strip(" \t") and (line[1] or not start or trim == "\n"):
                before = line[0] + line[1]
        yield "text", before
        if kind != "{#":
            yield ("put", tag[5].strip()) if kind == "{{" else ("do", tag[2].strip())
        start, trim = tag.end(), right if right == "-" else "" if kind == "{{" else "\n"
    rest = template[start:]
    yield "text", rest.lstrip() if trim == "-" else rest.removeprefix(trim)


def _nodes(parts: Iterator[tuple[str, str]]) -> tuple[list[Any], str]:
    """What stands up to the tag that ends it, and that tag."""
    nodes: list[Any] = []
    for kind, what in parts:
        word, _, rest = what.partition(" ")
        if kind == "text":
            nodes.append(what)
        elif kind == "put":
            nodes.append(_Put(_expression(what)))
        elif word == "set" and (found := re.fullmatch(r"(\w+)\s*=(?!=)(.*)", rest, re.DOTALL)):
            nodes.append(_Set(found[1], _expression(found[2])))
        elif word == "for" and (found := re.fullmatch(r"(\w+)\s+in\s(.*)", rest, re.DOTALL)):
            body, end = _nodes(parts)
            _require(end, "endfor", what)
            nodes.append(_For(found[1], _expression(found[2]), body))
        elif word == "if":
            nodes.append(_if(rest, parts))
        elif word in ("endfor", "endif", "else", "elif"):
            return nodes, what
        else:
            raise InputError(
                f"the chat template has {what!r}, which is beyond the plain Jinja here"
            )
    return nodes, ""


def _if(condition: str, parts: Iterator[tuple[str, str]]) -> _If:
    cases = []
    while True:
        body, end = _nodes(parts)
        cases.append((_expression(condition), body))
        word, _, rest = end.partition(" ")
        if word not in ("elif", "else") or condition == "True":
            _require(end, "endif", f"if {condition}")
            return _If(cases)
        condition = rest if word == "elif" else "True"


def _require(end: str, expected: str, opened: str) -> None:
    if end != expected:
        raise InputError(
            f"the chat template opens {opened!r} and ends it with {end or 'nothing'!r}: expected "
            f"{expected}"
        )


def _expression(text: str) -> ast.expr:
    """Jinja's expressions are nearly Python's: | binds tighter than +, as @ does there."""
    pieces = re.split(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")""", text.strip())
    pieces[::2] = [piece.replace("|", "@").replace("\n", " ") for piece in pieces[::2]]
    pieces[1::2] = [piece.replace("\n", "\\n") for piece in pieces[1::2]]
    try:
        return ast.parse("".join(pieces), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(
            f"the chat template has {text.strip()!r}, which is beyond the plain Jinja here"
        ) from None


# ---- what it says ------------------------------------------------------------------------------


def _written(nodes: list[Any], names: Names) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Put):
            value = _value(node.what, names)
            yield "" if value is None else str(value)
        elif isinstance(node, _Set):
            names[node.name] = _value(node.to, names)
        elif isinstance(node, _For):
            over = _value(node.over, names) or []
            for i, value in enumerate(over):
                loop = {"first": i == 0, "last": i == len(over) - 1, "index": i + 1, "index0": i}
                yield from _written(node.body, {**names, node.name: value, "loop": loop})
        else:
            bodies = (body for condition, body in node.cases if _value(condition, names))
            yield from _written(next(bodies, []), names)


def _value(node: ast.expr, names: Names) -> Any:
    """What an expression stands for; None for a name or a field that is not there."""
    try:
        return _VALUES[type(node)](node, names)
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise InputError(
            f"the chat template has {ast.unparse(node)!r}, which is beyond the plain Jinja here"
        ) from None


def _name(node: Any, names: Names) -> Any:
    constants = {"true": True, "false": False, "none": None}
    return constants.get(node.id, names.get(node.id))


def _item(node: Any, names: Names) -> Any:
    whole = _value(node.value, names)
    if isinstance(node, ast.Attribute):
        return whole.get(node.attr)
    if isinstance(node.slice, ast.Slice):
        ends = node.slice.lower, node.slice.upper, node.slice.step
        return whole[slice(*(end and _value(end, names) for end in ends))]
    place = _value(node.slice, names)
    return whole.get(place) if isinstance(whole, Mapping) else whole[place]


def _binary(node: Any, names: Names) -> Any:
    left = _value(node.left, names)
    if isinstance(node.op, ast.MatMult):  # a filter, which was written with |
        filters: dict[str, Any] = {"trim": str.strip, "length": len}
        return filters[node.right.id](left)
    right = _value(node.right, names)
    if isinstance(node.op, ast.Mod) and isinstance(left, int):
        return left % right
    if not isinstance(node.op, ast.Add):
        raise TypeError
    return left + right


def _compared(node: Any, names: Names) -> bool:
    (operator,), (right,) = node.ops, node.comparators
    left = _value(node.left, names)
    if isinstance(operator, ast.Is | ast.IsNot):
        word = "none" if isinstance(right, ast.Constant) and right.value is None else right.id
        found = {"defined": left is not None, "none": left is None, "string": isinstance(left, str)}
        return found[word] == isinstance(operator, ast.Is)
    other = _value(right, names)
    if isinstance(operator, ast.In | ast.NotIn):
        return (left in other) == isinstance(operator, ast.In)
    if isinstance(operator, ast.Eq | ast.NotEq):
        return bool((left == other) == isinstance(operator, ast.Eq))
    return bool({ast.Lt: left < other, ast.Gt: left > other}[type(operator)])


def _either(node: Any, names: Names) -> Any:
    value = None
    for part in node.values:
        value = _value(part, names)
        if bool(value) == isinstance(node.op, ast.Or):
            break
    return value


def _not(node: Any, names: Names) -> Any:
    value = _value(node.operand, names)
    return -value if isinstance(node.op, ast.USub) else not value


def _called(node: Any, names: Names) -> Any:
    arguments = [_value(argument, names) for argument in node.args]
    if isinstance(node.func, ast.Name) and node.func.id == "raise_exception":
        raise InputError(f"the chat template refuses these messages: {arguments[0]}")
    methods: dict[str, Any] = {
        name: getattr(str, name) for name in ("strip", "startswith", "endswith")
    }
    return methods[node.func.attr](_value(node.func.value, names), *arguments)


_VALUES: dict[type, Any] = {
    ast.Constant: lambda node, names: node.value,
    ast.Name: _name,
    ast.Attribute: _item,
    ast.Subscript: _item,
    ast.BinOp: _binary,
    ast.Compare: _compared,
    ast.BoolOp: _either,
    ast.UnaryOp: _not,
    ast.IfExp: lambda node, names: _value(
        node.body if _value(node.test, names) else node.orelse, names
    ),
    ast.Call: _called,
}
