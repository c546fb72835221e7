"""What a reader's code raised, in a sentence: the line, its arrays with their shapes, and why.

line 4, `dk = ds @ q`: ds is (2, 3, 5) and q is (2, 3, 4): @ needs the last axis of the first (5)
to be the last but one of the second (3); ds.swapaxes(-1, -2) would fit
"""

import ast
import linecache
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import numpy as np

NOTHING = "your function returned None: is the `return` missing?"
LIBRARY = str(Path(__file__).parents[1])


class Place(NamedTuple):
    """Where in the reader's code: the frame, the line, its text, and the part of it that failed."""

    frame: FrameType
    line: int
    text: str
    part: str


def raised(error: BaseException, called: str = "") -> str:
    """ "ValueError in line 4, `dk = ds @ q`: …"; `called` says how the function was called."""
    place, kind = _place(error.__traceback__), type(error).__name__
    message = _first_line(error)
    if place is None:
        return f"{kind}: {message}" + (f" (it is called as {called})" if called else "")
    text = f", `{place.text}`" if place.text else ""
    try:
        why = _reason(error, place)
    except Exception:  # explaining must not fail where the reader's objects are strange
        why = ""
    return f"{kind} in line {place.line}{text}: {why or message}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "it says no more"


def of_shapes(error: BaseException) -> bool:
    """Whether sizes that do not fit are the likely cause."""
    return isinstance(error, ValueError | IndexError)


# ---- the place -------------------------------------------------------------------------------


def _place(step: TracebackType | None) -> Place | None:
    """The last line that is the reader's own."""
    found = None
    while step is not None:
        if _is_readers(step.tb_frame.f_code.co_filename):
            found = step
        step = step.tb_next
    if found is None:
        return None
    frame, line = found.tb_frame, found.tb_lineno
    positions = list(frame.f_code.co_positions())
    first, last, start, end = positions[found.tb_lasti // 2]
    name = frame.f_code.co_filename
    text = linecache.getline(name, line, frame.f_globals).strip()
    part = ""
    if first and last and start is not None and end is not None:
        lines = [linecache.getline(name, n, frame.f_globals) for n in range(first, last + 1)]
        part = _cut(lines, start, end)
        if last > first:  # a statement of several lines: show the part that failed
            text = " ".join(part.split())
            line = first
    return Place(frame, line, text, part)


def _cut(lines: list[str], start: int, end: int) -> str:
    """Columns are counted in bytes."""
    if not all(lines):
        return ""
    coded = [line.encode() for line in lines]
    coded[-1] = coded[-1][:end]
    coded[0] = coded[0][start:]
    return b"".join(coded).decode(errors="replace")


def _is_readers(path: str) -> bool:
    library = path.startswith(LIBRARY) or "site-packages" in path or path.startswith("<frozen")
    return not library and "/lib/python" not in path.replace("\\", "/")


# ---- the reason ------------------------------------------------------------------------------


def _reason(error: BaseException, place: Place) -> str:
    tree = _parsed(place.part)
    if tree is None:
        return ""
    message = _first_line(error)
    if (
        isinstance(error, ValueError | TypeError | IndexError)
        or "AxisError" in type(error).__name__
    ):
        for explain in (_product, _broadcast, _unpacking):
            if why := explain(tree, place, message):
                return why
        shapes = [f"{name} is {_shape(x)}" for name, x in _arrays(tree, place.frame)]
        if shapes:
            return f"{message}; {', '.join(shapes[:4])}"
    return ""


def _parsed(part: str) -> ast.AST | None:
    try:
        tree = ast.parse(part.strip())
    except SyntaxError:
        return None
    (statement,) = tree.body if len(tree.body) == 1 else (tree,)
    return statement.value if isinstance(statement, ast.Expr) else statement


def _operands(tree: ast.AST) -> tuple[str, ast.expr, ast.expr] | None:
    """The two sides of an operation and its sign."""
    if isinstance(tree, ast.BinOp):
        return _sign(tree.op), tree.left, tree.right
    if isinstance(tree, ast.AugAssign):
        return _sign(tree.op), tree.target, tree.value
    if isinstance(tree, ast.Call) and len(tree.args) == 2:
        name = ast.unparse(tree.func).rpartition(".")[2]
        if name in ("dot", "matmul"):
            return "@", tree.args[0], tree.args[1]
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        one = len(tree.args) == 1 and tree.func.attr == "dot"
        return ("@", tree.func.value, tree.args[0]) if one else None
    return None


SIGNS = {"MatMult": "@", "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "Pow": "**"}


def _sign(op: ast.operator) -> str:
    return SIGNS.get(type(op).__name__, type(op).__name__)


def _product(tree: ast.AST, place: Place, message: str) -> str:
    """Of two matrices whose sizes do not fit."""
    found = _operands(tree)
    if not found or found[0] != "@":
        return ""
    _, left, right = found
    x, y = _value(left, place.frame), _value(right, place.frame)
    a, b = ast.unparse(left), ast.unparse(right)
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray) or not x.ndim or not y.ndim:
        return f"{message}; {a} is {_shape(x)}, {b} is {_shape(y)}"
    inner = y.shape[0] if y.ndim == 1 else y.shape[-2]
    words = f"{a} is {x.shape} and {b} is {y.shape}: "
    if x.shape[-1] == inner:
        return words + "their leading axes do not fit"
    words += (
        f"@ needs the last axis of {a}, {x.shape[-1]}, to equal the "
        f"{'only' if y.ndim == 1 else 'last but one'} of {b}, {inner}"
    )
    fitting = [n for n in _transposed(a, b, x, y)]
    return (
        f"{words}; is a transpose missing? {' or '.join(fitting)} would fit" if fitting else words
    )


def _transposed(a: str, b: str, x: Any, y: Any) -> Iterator[str]:
    """What fits once one of the two, or both, are transposed."""
    if x.ndim > 1 and y.ndim > 1:
        xt, yt = x.swapaxes(-1, -2), y.swapaxes(-1, -2)
        pairs = ((f"{_T(a, x)} @ {b}", xt, y), (f"{a} @ {_T(b, y)}", x, yt))
        fits = [text for text, m, n in pairs if m.shape[-1] == n.shape[-2]]
        if not fits and xt.shape[-1] == yt.shape[-2]:
            fits = [f"{_T(a, x)} @ {_T(b, y)}"]
        yield from fits


def _T(name: str, x: Any) -> str:
    if name.endswith(".T"):
        return name[:-2]
    name = name if re.fullmatch(r"[\w.]+", name) else f"({name})"
    return f"{name}.T" if x.ndim == 2 else f"{name}.swapaxes(-1, -2)"


def _broadcast(tree: ast.AST, place: Place, message: str) -> str:
    """Of two arrays that are added, multiplied, … and do not fit."""
    found = _operands(tree)
    if not found or "broadcast" not in message:
        return ""
    sign, left, right = found
    x, y = _value(left, place.frame), _value(right, place.frame)
    a, b = ast.unparse(left), ast.unparse(right)
    if x is None or y is None:
        return ""
    words = f"{a} is {_shape(x)} and {b} is {_shape(y)}: {sign} needs equal sizes, or 1"
    for name, small, large in ((b, np.shape(y), np.shape(x)), (a, np.shape(x), np.shape(y))):
        if small == large[:-1]:
            return f"{words}. {name} has lost the last axis: is keepdims=True missing in its sum?"
        if small == large[::-1] and len(small) == 2:
            return f"{words}. Is a transpose missing?"
    return words


def _unpacking(tree: ast.AST, place: Place, message: str) -> str:
    """Of a tuple that is taken apart into too many names, or too few."""
    whole = _parsed(place.text)
    if "unpack" not in message or not isinstance(whole, ast.Assign):
        return ""
    value, target = _value(whole.value, place.frame), whole.targets[0]
    if not isinstance(value, tuple | list) or not isinstance(target, ast.Tuple):
        return ""
    fields = getattr(value, "_fields", None)
    holds = f" ({', '.join(fields)})" if fields else ""
    return (
        f"{ast.unparse(whole.value)} holds {len(value)} things{holds}, and {len(target.elts)} "
        "names stand for them"
    )


# ---- values, looked up but never computed anew by the reader's code ----------------------------

HARMLESS = {"swapaxes", "transpose", "reshape", "sum", "mean", "max", "ravel", "astype", "squeeze"}
OF_NUMPY = HARMLESS | {"exp", "log", "sqrt", "abs", "tril", "triu"}


def _value(node: ast.AST, frame: FrameType) -> Any:
    """The value of names, and of what NumPy's own methods make of them; None for all else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, frame)
        plain = isinstance(owner, np.ndarray) and node.attr in ("T", "mT", "real", "shape")
        if plain or (isinstance(owner, tuple) and node.attr in getattr(owner, "_fields", ())):
            return getattr(owner, node.attr)
        return vars(owner).get(node.attr) if hasattr(owner, "__dict__") else None
    if isinstance(node, ast.UnaryOp | ast.Tuple | ast.Slice):
        return _of_parts(node, frame)
    if isinstance(node, ast.Subscript):
        owner, index = _value(node.value, frame), _value(node.slice, frame)
        known = isinstance(owner, np.ndarray | tuple | list | dict) and index is not None
        return owner[index] if known else None
    if isinstance(node, ast.BinOp):
        x, y = _value(node.left, frame), _value(node.right, frame)
        if all(isinstance(v, np.ndarray | int | float) for v in (x, y)):
            return OPERATIONS[_sign(node.op)](x, y) if _sign(node.op) in OPERATIONS else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _called(node, node.func, frame)
    return None


def _of_parts(node: ast.AST, frame: FrameType) -> Any:
    if isinstance(node, ast.UnaryOp):
        x = _value(node.operand, frame)
        return -x if isinstance(node.op, ast.USub) and x is not None else x
    if isinstance(node, ast.Tuple):
        return tuple(_value(part, frame) for part in node.elts)
    assert isinstance(node, ast.Slice)
    return slice(*(part and _value(part, frame) for part in (node.lower, node.upper, node.step)))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "@": lambda x, y: x @ y,
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
}


def _called(node: ast.Call, function: ast.Attribute, frame: FrameType) -> Any:
    owner = _value(function.value, frame)
    args = [_value(arg, frame) for arg in node.args]
    named = {k.arg: _value(k.value, frame) for k in node.keywords if k.arg}
    if owner is np and args and isinstance(args[0], np.ndarray) and function.attr in OF_NUMPY:
        return getattr(np, function.attr)(*args, **named)
    if isinstance(owner, np.ndarray) and function.attr in HARMLESS:
        return getattr(owner, function.attr)(*args, **named)
    return None


def _arrays(tree: ast.AST, frame: FrameType) -> Iterator[tuple[str, Any]]:
    """The names in a piece of code that stand for arrays, each once."""
    seen = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in seen:
            seen.add(node.id)
            if isinstance(value := _value(node, frame), np.ndarray):
                yield node.id, value


def _shape(x: Any) -> str:
    if isinstance(x, np.ndarray):
        return str(x.shape)
    if isinstance(x, list | tuple):
        return f"a {type(x).__name__} of {len(x)}"
    return "None" if x is None else f"{type(x).__name__} {x}"[:40]
