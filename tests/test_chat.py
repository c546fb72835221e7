"""chat.py: templates against Jinja itself, where it is there; and what is refused."""

import itertools

import numpy as np
import pytest

from numpylm.chat import PretrainedText, conversation
from numpylm.errors import InputError

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start|>' + message['role'] + '<|end|>\n\n'+ message['content'] | trim + '<|eot|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{{ '<|start|>assistant<|end|>\n\n' }}"
)
INSTRUCTIONS = """{{ bos_token }}
{%- if messages[0].role == "system" -%}
  {%- set rest = messages[1:] -%}
{%- else -%}
  {%- set rest = messages -%}
{%- endif %}

{# turns #}
{% for m in rest %}
    {% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate') }}
    {% elif m.role == 'user' and not loop.last %}
  [I] {{ m.content.strip() }} [/I]
    {% else %}
{{ ' ' + m['content'] + (eos_token if m['role'] == 'assistant' else '!') }}
    {% endif %}
{% endfor %}
{% if tools is not defined and bos_token is defined and 'user' in rest[-1].role %}end{% endif %}
"""
PLAIN = "{{ messages[0].content|length }} {{ messages | length > 1 or '' }} {% if x %}a{% endif %}"
MESSAGES = [
    [{"role": "user", "content": " Hi\n"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "{{ x }} {% y %} é"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "  c"},
    ],
]
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize(
    ("template", "messages"),
    [*itertools.product([CHATML, HEADERS, INSTRUCTIONS, PLAIN], MESSAGES)],
)
def test_a_conversation_is_the_text_that_jinja_makes(template, messages):
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    due = environment.from_string(template).render(
        messages=messages, add_generation_prompt=True, **NAMES
    )
    assert conversation(template, messages, NAMES) == due


def test_chatml_word_by_word():
    assert conversation(CHATML, MESSAGES[0]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi\n<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% macro a() %}{% endmacro %}", "'macro a.*beyond"),
        ("{% for a, b in messages %}{% endfor %}", "'for a, b in messages'.*beyond"),
        ("{{ messages | tojson }}", "'messages @ tojson'.*beyond"),
        ("{{ messages[0] ~ 'a' }}", "~.*beyond"),
        ("{{ ().__class__ }}", "beyond"),
        ("{{ messages.__class__ }}", "beyond"),
        ("{{ open('x') }}", "beyond"),
        ("{{ [x for x in messages] }}", "beyond"),
        ("{{ messages[9] }}", r"messages\[9\].*beyond"),
        ("{{ 2 ** 99 }}", "beyond"),
        ("{% if a %}", "opens 'if a' and ends it with 'nothing': expected endif"),
        ("{% for m in messages %}{% endif %}", "ends it with 'endif': expected endfor"),
        ("a{% endif %}", "'endif' with nothing before it"),
        ("{{ raise_exception('no ' + messages[0].role) }}", "refuses these messages: no user"),
    ],
)
def test_what_is_beyond_the_plain_part_is_refused_by_name(template, words):
    with pytest.raises(InputError, match=words):
        conversation(template, MESSAGES[0])


class Letters:
    def encode(self, text):
        return np.array([ord(c) for c in text], np.intp)


def test_what_stands_before_a_text_is_not_put_before_a_conversation_which_has_its_own():
    text = PretrainedText(None, Letters(), (2,), "{{ bos_token }}{{ messages[0].content }}", (7,))
    assert text.ids("ab").tolist() == [7, 97, 98]
    assert text._replace(names={"bos_token": "^"}).chat_ids("ab").tolist() == [94, 97, 98]
    with pytest.raises(InputError, match="no chat template"):
        text._replace(chat="").chat_ids("ab")
