"""huggingface_text.py: folders made on the spot, beside transformers where it is there."""

import json

import numpy as np
import pytest

from numpylm.bert import BERT
from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.huggingface import save_pretrained
from numpylm.huggingface_text import text_from_pretrained
from numpylm.llama import Llama, LlamaConfig
from numpylm.sampling import GenerateConfig, stream_ids
from numpylm.tokenizers import BytePairTokenizer

tokenizers = pytest.importorskip("tokenizers")

TEXT = "The cat sat on the mat, and 2026 dogs saw Zoë's café.\n" * 4
TEXTS = ["The cat", " the  cat\n\nsat", "Zoë — 2026!", "dogs's", "a"]
CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
)
SPECIAL = {"special": True, "normalized": False, "single_word": False}
SPECIAL |= {"lstrip": False, "rstrip": False}


def special(i, content):
    return SPECIAL | {"id": i, "content": content}


def bytewise():
    """Byte pairs as GPT-2 has them, with its end of a text."""
    description = json.loads(BytePairTokenizer.from_text(TEXT, 300).to_dict()["description"])
    V = len(description["model"]["vocab"])
    description["model"]["vocab"]["<|endoftext|>"] = V
    description["added_tokens"] = [special(V, "<|endoftext|>")]
    return description


def like_llama_3():
    """Byte pairs cut by a pattern, which begin every text."""
    description = bytewise()
    V = len(description["model"]["vocab"])
    begin = "<|begin|>"
    description["model"]["vocab"][begin] = V
    description["added_tokens"].append(special(V, begin))
    pattern = {"Regex": r"\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+| ?\\p{L}+|\\s+".replace("\\\\", "\\")}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    description["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [split, bytes_ | {"use_regex": False}],
    }
    first = [{"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [{"Sequence": {"id": "B", "type_id": 1}}]
    description["post_processor"] = {
        "type": "TemplateProcessing",
        "single": first,
        "pair": first + pair,
        "special_tokens": {begin: {"id": begin, "ids": [V], "tokens": [begin]}},
    }
    return description


def like_llama_2():
    """Pairs of characters with ▁ for a space, and bytes for what is no piece, as SentencePiece."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    pieces += ["▁", *"Thecatsonmd,", "▁c", "▁ca", "▁cat", "th", "▁th", "▁the", "▁s"]
    merges = ["▁ c", "▁c a", "▁ca t", "t h", "▁ th", "▁th e", "▁ s"]
    strip = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}]
    strip += [{"type": "ByteFallback"}, {"type": "Fuse"}]
    strip += [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    pair = [{"Sequence": {"id": "B", "type_id": 1}}]
    single = [begin, {"Sequence": {"id": "A", "type_id": 0}}]
    normalizers = [{"type": "Prepend", "prepend": "▁"}]
    normalizers += [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": {
            "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>",
        },
        "added_tokens": [special(i, piece) for i, piece in enumerate(pieces[:3])],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single + pair,
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": strip},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True,
            "byte_fallback": True, "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": merges,
        },
    }  # fmt: skip


def folder_of(path, kind, description, files="tokenizer.json", padding=0, **config):
    vocab = description["model"]["vocab"]
    sizes = {"vocab_size": len(vocab) + padding, "context_length": 64, "layers": 2, "heads": 2}
    model = kind(kind.Config(**sizes, width=16), np.random.default_rng(1), np.float32)
    save_pretrained(order_one(model), path)
    end = next((t for t in description["added_tokens"] if "end" in t["content"]), {"id": 2})
    change(path / "config.json", **{"eos_token_id": end["id"]} | config)
    if files == "tokenizer.json":
        (path / files).write_text(json.dumps(description), encoding="utf-8")
    else:
        (path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        merges = [" ".join(m) if isinstance(m, list) else m for m in description["model"]["merges"]]
        text = "\n".join(["#version: 0.2", *merges, ""])
        (path / "merges.txt").write_text(text, encoding="utf-8")
    begin = next((t["content"] for t in description["added_tokens"] if t["content"] == "<s>"), "")
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    first = {"__type": "AddedToken", "content": begin or "<|begin|>", **SPECIAL}
    options |= {"bos_token": first, "chat_template": CHAT}
    (path / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    return path


def change(path, **fields):
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(about | fields), encoding="utf-8")


FOLDERS = {
    "GPT-2": (GPT, bytewise, "tokenizer.json"),
    "GPT-2, older": (GPT, bytewise, "vocab.json"),
    "Llama 2": (Llama, like_llama_2, "tokenizer.json"),
    "Llama 3": (Llama, like_llama_3, "tokenizer.json"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: folder_of(tmp_path_factory.mktemp("f"), kind, made(), files)
        for name, (kind, made, files) in FOLDERS.items()
    }


every_folder = pytest.mark.parametrize("name", FOLDERS)


@every_folder
def test_text_goes_in_and_comes_out_unchanged(folders, name):
    text = text_from_pretrained(folders[name])
    assert type(text.model) is FOLDERS[name][0]
    for one in TEXTS:
        assert text.tokenizer.decode(text.tokenizer.encode(one)) == one
    assert len(text.begin_ids) == ("Llama" in name)
    assert text.ids("a")[0] == [*text.begin_ids, *text.tokenizer.encode("a")][0]
    assert len(text.end_ids) == 1


@every_folder
def test_ids_and_greedy_text_are_those_of_transformers(folders, name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    text = text_from_pretrained(folders[name])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folders[name])
    if name == "GPT-2, older":
        parts = folders[name] / "vocab.json", folders[name] / "merges.txt"
        cut = transformers.GPT2Tokenizer(str(parts[0]), str(parts[1]))
    else:
        cut = transformers.AutoTokenizer.from_pretrained(folders[name])
    for one in TEXTS:
        assert text.ids(one).tolist() == cut(one).input_ids, one
    ids = text.ids("The cat")
    due = theirs.generate(
        torch.tensor(ids[None]), max_new_tokens=12, do_sample=False, eos_token_id=None,
        pad_token_id=0,
    )[0]  # fmt: skip
    steps = stream_ids(text.model, ids, GenerateConfig(12, 0.0), np.random.default_rng(0))
    assert [*ids, *(w for w, _ in steps)] == due.tolist()


def test_a_conversation_has_the_ids_of_its_template_and_no_second_beginning(folders):
    text = text_from_pretrained(folders["Llama 3"])
    ids = text.chat_ids("The cat")
    assert ids[: len(text.begin_ids)].tolist() == [*text.begin_ids]
    assert text.tokenizer.decode(ids) == "<|begin|>user: The cat</s>"


def test_the_template_may_stand_in_a_file_or_be_one_of_several(folders, tmp_path):
    folder = folder_of(tmp_path, Llama, like_llama_3())
    several = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    change(folder / "tokenizer_config.json", chat_template=several)
    assert text_from_pretrained(folder).chat == "yes"
    (folder / "chat_template.jinja").write_text("{{ 1 }}", encoding="utf-8")
    assert text_from_pretrained(folder).chat == "{{ 1 }}"


def test_every_end_is_known(tmp_path):
    folder = folder_of(tmp_path, Llama, like_llama_2(), padding=5)
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 2]}', encoding="utf-8")
    assert text_from_pretrained(folder).end_ids == (0, 2)


@pytest.mark.parametrize(
    ("made", "options", "words"),
    [
        (bytewise, {"eos_token_id": 40}, "eos_token_id is 40, which is no special token"),
        (bytewise, {"eos_token_id": [9999]}, "eos_token_id is 9999"),
        (bytewise, {"eos_token_id": "x"}, "eos_token_id must be an id"),
        (
            bytewise,
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_scaling must be None",
        ),
        (bytewise, {"sliding_window": 9}, "sliding_window must be None, not 9"),
        (bytewise, {"num_local_experts": 8}, "num_local_experts must be"),
        (bytewise, {"attention_bias": True}, "attention_bias must be False"),
        (bytewise, {"mlp_bias": True}, "mlp_bias must be False"),
        (bytewise, {"quantization_config": {"bits": 4}}, "quantization_config must be None"),
        (bytewise, {"hidden_act": "gelu"}, "hidden_act must be 'silu' or 'swish', not 'gelu'"),
        (bytewise, {"head_dim": 4}, "head_dim must be 8"),
        (bytewise, {"rope_parameters": {"rope_type": "yarn"}}, "rope_type must be 'default'"),
    ],
)
def test_what_is_not_computed_or_does_not_belong_is_named(tmp_path, made, options, words):
    folder = folder_of(tmp_path, Llama, made(), **options)
    told = []
    with pytest.raises(InputError, match=words) as error:
        text_from_pretrained(folder, lambda *which: told.append(which))
    assert "\n" not in str(error.value) and not told


def test_a_tokenizer_of_another_model_or_kind_is_refused(tmp_path):
    folder = folder_of(tmp_path / "a", Llama, bytewise())
    (folder / "tokenizer.json").write_text(json.dumps(like_llama_3()), encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer has 293 symbols and its model 292"):
        text_from_pretrained(folder)
    for content, words in {
        '{"model": {"type": "Unigram", "vocab": []}}': "must be BPE",
        "[]": "describes no byte-pair tokenizer",
        '{"model"': "cannot be read",
    }.items():
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=words):
            text_from_pretrained(folder)


def test_a_folder_without_a_tokenizer_says_how_to_get_one(tmp_path):
    save_pretrained(Llama(LlamaConfig(vocab_size=9, layers=1, heads=2, width=8)), tmp_path / "a")
    with pytest.raises(InputError, match=r"no tokenizer.json: save its tokenizer"):
        text_from_pretrained(tmp_path / "a")
    (tmp_path / "a" / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(InputError, match="SentencePiece"):
        text_from_pretrained(tmp_path / "a")
    save_pretrained(GPT(GPTConfig(vocab_size=9, layers=1, heads=2, width=8)), tmp_path / "b")
    (tmp_path / "b" / "vocab.json").write_text('{"a": 0}', encoding="utf-8")
    with pytest.raises(InputError, match=r"no tokenizer.json"):
        text_from_pretrained(tmp_path / "b")


def test_an_encoder_continues_no_text(tmp_path):
    save_pretrained(BERT(BERT.Config(vocab_size=9, layers=1, heads=2, width=8)), tmp_path)
    with pytest.raises(InputError, match="BERT, which continues no text"):
        text_from_pretrained(tmp_path)
