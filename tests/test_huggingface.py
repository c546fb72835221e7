"""huggingface.py and its layouts: against transformers in both directions, and bad input.

What needs transformers is skipped without it.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from numpylm import huggingface
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.bert import BERT, BERTForMaskedLM
from numpylm.bert_heads import BERTForClass, BERTForSpan
from numpylm.checks.gradient_cases import order_one
from numpylm.corpora import CorpusConfig
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.huggingface import from_pretrained, save_pretrained
from numpylm.huggingface_layouts import LAYOUTS, places_of, shapes_of
from numpylm.llama import Llama
from numpylm.ops import IGNORE
from numpylm.runs import Run, TrainConfig, load_trained

PARITY = 1e-10  # what is promised in float64; 6e-15 is seen
PARITY_32 = 1e-4  # a thousand roundings of float32; 3e-6 is seen

B, T, V, C, H, F, L, K = 2, 5, 11, 6, 3, 8, 2, 4
IDS = np.array([[1, 9, 1, 2, 4], [5, 1, 10, 0, 2]])
SEGMENTS = np.array([[0, 2, 1, 1, 1], [0, 1, 1, 0, 2]])
ATTEND = np.arange(T) < np.array([[5], [3]])
SAVED = {layout.kind: name for name, layout in reversed(LAYOUTS.items())}
every_kind = pytest.mark.parametrize("kind", SAVED, ids=lambda kind: kind.__name__)
every_layout = pytest.mark.parametrize("name", LAYOUTS)


def a_model(kind, dtype=np.float64, **options):
    sizes = {"vocab_size": V, "context_length": 8, "layers": L, "heads": H, "width": C}
    sizes |= {} if kind is GPT else {"hidden": F, "eps": 1e-6}
    if kind is Llama:
        sizes |= {"heads": 4, "groups": 2, "width": 16, "base": 500.0}
    elif kind is not GPT:
        sizes["segments"] = 3
    sizes |= {"classes": K} if kind is BERTForClass else {}
    config = kind.Config(**sizes | options)
    return order_one(kind(config, np.random.default_rng(2), np.float64)).astype(dtype)


def outputs(model):
    """What a model computes of the batch; the bare encoder has h in place of logits."""
    if isinstance(model, GPT | Llama):
        return model.forward(IDS)[0]
    given = {"segments": SEGMENTS, "attend": ATTEND}
    return model.encode(IDS, **given)[0] if type(model) is BERT else model.forward(IDS, **given)[0]


def close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- the tables ------------------------------------------------------------------------------


@every_layout
def test_the_table_names_every_parameter_and_no_tensor_twice(name):
    layout = LAYOUTS[name]
    config = a_model(layout.kind).config
    places = places_of(layout, config)
    assert set(places) == set(shapes_of(layout, config))
    tensors = [tensor for parts in places.values() for tensor in parts]
    assert len(set(tensors)) == len(tensors)


# ---- there and back, without transformers ----------------------------------------------------


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_saved_is_loaded_to_the_bit(kind, dtype, tmp_path):
    options = {} if kind is Llama else {"dropout": 0.25}
    model = a_model(kind, dtype, init_std=0.5, **options)
    save_pretrained(model, tmp_path / "new" / "folder")
    again, unused = from_pretrained(tmp_path / "new" / "folder")
    assert type(again) is kind and again.config == model.config and unused == []
    assert again.params.flat.dtype == dtype
    np.testing.assert_array_equal(again.params.flat, model.params.flat)
    assert from_pretrained(tmp_path / "new" / "folder", np.float64).model.params.flat.dtype == "f8"


def test_a_gpt_without_biases_comes_back_with_biases_of_0_and_the_same_logits(tmp_path):
    model = a_model(GPT, bias=False)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).model
    assert again.config == replace(model.config, bias=True)
    assert not any(again.params[name].any() for name in set(again.params) - set(model.params))
    np.testing.assert_array_equal(outputs(again), outputs(model))


def test_what_is_not_an_option_here_is_written_as_the_models_here_have_it(tmp_path):
    save_pretrained(a_model(BERTForClass, np.float32, hidden=0, dropout=0.2), tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}  # without it, older releases refuse the file
    about = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    due = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "intermediate_size": 4 * C,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.2,
        "attention_probs_dropout_prob": 0.0,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2", "3": "LABEL_3"},
        "pad_token_id": None,
        "dtype": "float32",
    }
    assert {field: about[field] for field in due} == due
    assert from_pretrained(tmp_path).model.config.hidden == 4 * C


def test_half_precision_is_loaded_as_float32(tmp_path):
    save_pretrained(a_model(GPT, np.float32), tmp_path)
    change(tmp_path, lambda tensors: {k: x.astype(np.float16) for k, x in tensors.items()})
    model = from_pretrained(tmp_path).model
    assert model.params.flat.dtype == np.float32
    close(model.params.flat, a_model(GPT).params.flat, 1e-3)


# ---- transformers, if it is there ------------------------------------------------------------


@pytest.fixture
def hugging_face():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers")


def opened(hugging_face, name, folder):
    """The model in transformers, which must take every tensor and miss none."""
    options = {"add_pooling_layer": False} if name == "BertModel" else {}
    kind = getattr(hugging_face, name)
    model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(info.values()), info
    return model.eval()


def given(kind, attend=ATTEND):
    """The batch as the same class of transformers takes it."""
    import torch

    arrays = {"input_ids": IDS}
    if kind not in (GPT, Llama):
        arrays |= {"token_type_ids": SEGMENTS, "attention_mask": attend}
    return {name: torch.tensor(array) for name, array in arrays.items()}


def outputs_there(theirs, ours):
    """The same as outputs, in transformers; it lets a padded token be the start of an answer."""
    import torch

    with torch.no_grad():
        y = theirs(**given(type(ours)))
    if type(ours) is BERT:
        return y.last_hidden_state.numpy()
    if type(ours) is BERTForSpan:
        z = torch.stack([y.start_logits, y.end_logits], dim=1).numpy()
        return np.where(ATTEND[:, None], z, -np.inf)
    return y.logits.numpy()


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transformers_opens_what_is_saved_and_gives_the_same_logits(
    kind, dtype, tmp_path, hugging_face
):
    model = a_model(kind, dtype)
    save_pretrained(model, tmp_path)
    theirs = opened(hugging_face, SAVED[kind], tmp_path)
    z = outputs_there(theirs, model)
    assert z.dtype == dtype
    tolerance = PARITY if dtype is np.float64 else PARITY_32
    if kind is Llama:  # transformers computes its angles in float32 always
        tolerance = PARITY_32
    close(outputs(model), z, tolerance)


def test_a_gpt_trained_here_goes_on_in_transformers(tmp_path, hugging_face):
    config = GPTConfig(context_length=8, layers=2, heads=2, width=8, dropout=0.1, bias=False)
    corpus = CorpusConfig(sentences=40, heldout_sentences=10)
    run = Run.from_configs(
        tmp_path / "run", GPT, config, corpus, TrainConfig(steps=5, batch_size=4)
    )
    run.train(progress=False)
    model = load_trained(tmp_path / "run").model
    save_pretrained(model, tmp_path / "opened")
    theirs = opened(hugging_face, "GPT2LMHeadModel", tmp_path / "opened")
    close(outputs(model), outputs_there(theirs, model), PARITY_32)
    shares = [module.p for module in theirs.modules() if type(module).__name__ == "Dropout"]
    assert shares == [0.1] + [0.0, 0.1, 0.1] * 2  # none of the attention weights is dropped


TARGETS = {
    GPT: np.c_[IDS[:, 1:], [3, 7]],
    BERTForMaskedLM: np.array([[IGNORE, 3, 1, IGNORE, 4], [5, 9, IGNORE, IGNORE, IGNORE]]),
    BERTForClass: np.array([3, 1]),
    BERTForSpan: np.array([[1, 3], [0, 0]]),
}


def loss_there(theirs, kind, attend):
    """The loss of transformers, and its gradients by the names of its tensors."""
    import torch

    targets = torch.tensor(TARGETS[kind])
    if kind is GPT:  # its own loss is computed in float32
        logits = theirs(**given(kind)).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    elif kind is BERTForSpan:
        start, end = targets.T
        loss = theirs(**given(kind, attend), start_positions=start, end_positions=end).loss
    else:
        loss = theirs(**given(kind, attend), labels=targets).loss
    loss.backward()
    return loss.item(), {name: p.grad.numpy() for name, p in theirs.named_parameters()}


@pytest.mark.parametrize("kind", TARGETS, ids=lambda kind: kind.__name__)
def test_the_loss_and_all_gradients_are_those_of_transformers(kind, tmp_path, hugging_face):
    model = a_model(kind)
    save_pretrained(model, tmp_path)
    theirs = opened(hugging_face, SAVED[kind], tmp_path)
    attend = np.ones_like(ATTEND) if kind is BERTForSpan else ATTEND  # theirs reads padding
    their_loss, their_grads = loss_there(theirs, kind, attend)
    options = {} if kind is GPT else {"segments": SEGMENTS, "attend": attend}
    loss, cache = model.loss(IDS, TARGETS[kind], **options)
    close(loss, their_loss, PARITY)
    due, _ = huggingface._arrange(their_grads, LAYOUTS[SAVED[kind]], model.config)
    for name, grad in model.loss_backward(cache).items():
        np.testing.assert_allclose(grad, due[name], rtol=PARITY, atol=PARITY, err_msg=name)


def a_model_there(hugging_face, name, **options):
    """A model of transformers whose every parameter is of order 1, in float64."""
    import torch

    if name.startswith("GPT2"):
        config = hugging_face.GPT2Config(
            vocab_size=V, n_positions=8, n_embd=C, n_layer=L, n_head=H, bos_token_id=None,
            eos_token_id=None, **options,
        )  # fmt: skip
    else:
        config = hugging_face.BertConfig(
            vocab_size=V, max_position_embeddings=8, hidden_size=C, num_hidden_layers=L,
            num_attention_heads=H, intermediate_size=F, type_vocab_size=3, **options,
        )  # fmt: skip
    model = getattr(hugging_face, name)(config).double().eval()
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) / 2)
    return model


@pytest.mark.parametrize(
    ("name", "options", "unused"),
    [
        ("GPT2LMHeadModel", {"n_inner": 4 * C}, []),
        ("BertModel", {"layer_norm_eps": 0.1}, ["pooler.dense.bias", "pooler.dense.weight"]),
        ("BertForMaskedLM", {}, []),
        ("BertForSequenceClassification", {"num_labels": 3}, []),
        ("BertForSequenceClassification", {}, []),
        ("BertForQuestionAnswering", {"hidden_act": "gelu_python"}, []),
    ],
)
def test_what_transformers_saves_gives_the_same_logits_and_the_same_file_here(
    name, options, unused, tmp_path, hugging_face
):
    theirs = a_model_there(hugging_face, name, **options)
    theirs.save_pretrained(tmp_path)
    model, left = from_pretrained(tmp_path)
    assert left == unused and model.config.dropout == 0.1
    close(outputs(model), outputs_there(theirs, model), PARITY)
    save_pretrained(model, tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    assert set(again) == set(tensors) - set(unused)
    for tensor, array in again.items():
        np.testing.assert_array_equal(array, tensors[tensor], err_msg=tensor)


def test_the_bare_gpt2_of_transformers_predicts_with_its_own_embedding(tmp_path, hugging_face):
    theirs = a_model_there(hugging_face, "GPT2Model")
    theirs.save_pretrained(tmp_path)
    model = from_pretrained(tmp_path).model
    y = theirs(**given(GPT)).last_hidden_state.detach().numpy()
    close(outputs(model), y @ theirs.wte.weight.detach().numpy().T, PARITY)


def test_old_names_of_the_norms_mean_what_transformers_takes_them_for(tmp_path, hugging_face):
    model = a_model(BERTForMaskedLM)
    save_pretrained(model, tmp_path)
    change(tmp_path, lambda tensors: {old_name(k): x for k, x in tensors.items()})
    theirs = opened(hugging_face, "BertForMaskedLM", tmp_path)
    close(outputs(from_pretrained(tmp_path).model), outputs_there(theirs, model), PARITY)


def old_name(name):
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    )


# ---- what a file may hold, and what it may not -----------------------------------------------


ABSENT = object()


def change(folder, tensors=None, **fields):
    """Rewrite the tensors by a function, and fields of config.json."""
    path, about = folder / "model.safetensors", folder / "config.json"
    if tensors:
        save_file(tensors(load_file(path)), path, {"format": "pt"})
    values = json.loads(about.read_text(encoding="utf-8")) | fields
    values = {field: value for field, value in values.items() if value is not ABSENT}
    about.write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture
def gpt(tmp_path):
    save_pretrained(a_model(GPT), tmp_path)
    return tmp_path


@pytest.fixture
def bert(tmp_path):
    save_pretrained(a_model(BERTForMaskedLM), tmp_path)
    return tmp_path


def test_masks_and_equal_copies_in_a_file_of_gpt2_change_nothing_and_masks_are_named(gpt):
    before = from_pretrained(gpt).model
    masks = {f"h.{i}.attn.bias": np.tri(8)[None, None].astype(np.uint8) for i in range(L)}
    masks |= {"h.0.attn.masked_bias": np.float32(-1e4)}
    copy = {"lm_head.weight": before.params["E"].copy()}
    change(
        gpt,
        lambda tensors: {k.removeprefix("transformer."): x for k, x in tensors.items()}
        | {k: np.asarray(x) for k, x in masks.items()} | copy,
    )  # fmt: skip
    model, unused = from_pretrained(gpt)
    assert unused == ["h.0.attn.bias", "h.0.attn.masked_bias", "h.1.attn.bias"]
    np.testing.assert_array_equal(model.params.flat, before.params.flat)


def test_what_bert_was_trained_with_beside_its_masked_words_is_named(bert):
    rest = {
        "bert.embeddings.position_ids": np.arange(8)[None],
        "bert.pooler.dense.bias": np.ones(C),
        "bert.pooler.dense.weight": np.ones((C, C)),
        "cls.seq_relationship.bias": np.ones(2),
        "cls.seq_relationship.weight": np.ones((2, C)),
    }
    copies = {"cls.predictions.decoder.bias": a_model(BERTForMaskedLM).params["predict.b"]}
    change(bert, lambda tensors: tensors | rest | copies)
    model, unused = from_pretrained(bert)
    assert unused == list(rest)
    np.testing.assert_array_equal(model.params.flat, a_model(BERTForMaskedLM).params.flat)


WTE = "transformer.wte.weight"


def without(*names):
    return lambda tensors: {k: x for k, x in tensors.items() if k not in names}


def with_(**more):
    """Dots cannot be written in a keyword: a double underscore stands for one."""
    more = {name.replace("__", "."): np.asarray(x) for name, x in more.items()}
    return lambda tensors: tensors | more


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        (
            without(WTE, "transformer.h.1.mlp.c_fc.bias"),
            r"lacks the tensors .*wte.weight.*h.1.mlp.c_fc.bias",
        ),
        (
            with_(transformer__h__2__ln_1__bias=np.ones(C), score__weight=np.ones((2, C))),
            r"\['score.weight', 'transformer.h.2.ln_1.bias'\] are unknown",
        ),
        (with_(wte__weight=np.ones((V, C))), r"wte.weight and .*wte.weight are the same one"),
        (
            with_(transformer__h__0__attn__c_attn__weight=np.ones((3 * C, C))),
            r"tensor transformer.h.0.attn.c_attn.weight has shape \(18, 6\) .*must be \(6, 18\)",
        ),
        (
            with_(transformer__ln_f__bias=np.ones(C, int)),
            r"tensor transformer.ln_f.bias has shape \(6,\) and is int64; .*floating point",
        ),
        (
            with_(lm_head__weight=np.ones((V, C))),
            "lm_head.weight is not equal to transformer.wte.weight",
        ),
        (with_(lm_head__weight=np.ones((V, C + 1))), "lm_head.weight is not equal to"),
    ],
)
def test_every_tensor_must_be_there_once_in_its_shape(gpt, mutation, message):
    change(gpt, mutation)
    with pytest.raises(InputError, match=message) as error:
        from_pretrained(gpt)
    assert "model.safetensors cannot be used" in str(error.value)


def test_a_weight_of_bert_that_is_not_turned_is_seen_by_its_shape(bert):
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    change(bert, lambda tensors: tensors | {name: np.ones((C, F))})
    with pytest.raises(InputError, match=rf"{name} has shape \(6, 8\) .*must be \(8, 6\)"):
        from_pretrained(bert)


def test_numbers_that_numpy_lacks_are_named(gpt):
    kind = {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}
    text = json.dumps({"transformer.ln_f.bias": kind}).encode()
    path = gpt / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(1))
    with pytest.raises(InputError, match=r"tensor transformer.ln_f.bias is F8_E4M3; save it in"):
        from_pretrained(gpt)


@pytest.mark.parametrize("kind", [GPT, Llama, BERTForClass])
def test_bfloat16_is_read_as_the_float32_that_it_stands_for(tmp_path, kind):
    """The upper 16 bits of every number; one tensor stays float32, and lies between the others."""
    save_pretrained(a_model(kind, np.float32), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    header, data, due = {}, b"", {}
    for n, (name, array) in enumerate(tensors.items()):
        upper = array.view(np.uint32) >> 16
        part = array.tobytes() if n == 3 else upper.astype("<u2").tobytes()
        due[name] = array if n == 3 else (upper << 16).view(np.float32)
        places = [len(data), len(data) + len(part)]
        kept = {"dtype": "F32" if n == 3 else "BF16", "shape": array.shape, "data_offsets": places}
        header[name], data = kept, data + part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    whole = len(text).to_bytes(8, "little") + text + data
    (tmp_path / "model.safetensors").write_bytes(whole)
    found = from_pretrained(tmp_path).model
    save_file(due, tmp_path / "model.safetensors", {"format": "pt"})
    np.testing.assert_array_equal(found.params.flat, from_pretrained(tmp_path).model.params.flat)
    close(found.params.flat, a_model(kind).params.flat, 2**-7)
    (tmp_path / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        from_pretrained(tmp_path)


def test_bfloat16_of_pytorch_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_there

    save_pretrained(a_model(GPT, np.float32), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    theirs = {name: torch.tensor(array).bfloat16() for name, array in tensors.items()}
    save_there(theirs, tmp_path / "model.safetensors", {"format": "pt"})
    found = from_pretrained(tmp_path).model
    np.testing.assert_array_equal(
        found.params["E"], theirs["transformer.wte.weight"].float().numpy()
    )


@pytest.mark.parametrize("kept", [0, 7, 500, -1])
def test_a_file_that_is_cut_short_is_an_error(gpt, kept):
    path = gpt / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        from_pretrained(gpt)


def test_a_file_of_another_kind_is_an_error(gpt):
    (gpt / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 10)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        from_pretrained(gpt)


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        (None, "has no model.safetensors"),
        ("pytorch_model.bin", "a pickle: reading one can run code"),
        ("model.safetensors.index.json", "in several files, .*max_shard_size"),
    ],
)
def test_other_ways_to_keep_tensors_are_refused_with_the_reason(gpt, instead, message):
    (gpt / "model.safetensors").unlink()
    if instead:
        (gpt / instead).write_bytes(b"")
    with pytest.raises(InputError, match=message):
        from_pretrained(gpt)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", None])
def test_a_config_that_is_no_json_is_an_error(gpt, content):
    (gpt / "config.json").unlink()
    if content is not None:
        (gpt / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config.json cannot be read"):
        from_pretrained(gpt)


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"architectures": [{}]}'])
def test_a_config_without_an_architecture_is_an_error(gpt, content):
    (gpt / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"architectures must be one of GPT2LMHeadModel, .*not"):
        from_pretrained(gpt)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architectures", ["MistralForCausalLM"]),
        ("architectures", "GPT2LMHeadModel"),
        ("activation_function", "relu"),
        ("activation_function", "gelu"),
        ("layer_norm_epsilon", 1e-6),
        ("n_inner", 3 * C),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("n_layer", ABSENT),
        ("n_layer", "2"),
        ("n_head", 4),
        ("n_positions", 0),
        ("resid_pdrop", 1.5),
    ],
)
def test_a_field_that_gpt_does_not_compute_is_named(gpt, field, value):
    change(gpt, **{field: value})
    with pytest.raises(InputError, match=rf"config.json.*{field}"):
        from_pretrained(gpt)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_act", "gelu_new"),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("problem_type", "regression"),
        ("layer_norm_eps", 0),
        ("hidden_size", None),
    ],
)
def test_a_field_that_bert_does_not_compute_is_named(bert, field, value):
    change(bert, **{field: value})
    with pytest.raises(InputError, match=rf"config.json.*{field}"):
        from_pretrained(bert)


@pytest.mark.parametrize("labels", [7, ["a", "b"], {"0": "alone"}])
def test_a_class_head_needs_names_of_two_classes_or_more(tmp_path, labels):
    save_pretrained(a_model(BERTForClass), tmp_path)
    change(tmp_path, id2label=labels)
    with pytest.raises(InputError, match=r"config.json.*id2label"):
        from_pretrained(tmp_path)


def test_sizes_that_are_not_those_of_the_tensors_are_an_error(gpt):
    change(gpt, n_layer=1)
    with pytest.raises(InputError, match=r"transformer.h.1.attn.c_attn.bias.* are unknown"):
        from_pretrained(gpt)
    change(gpt, n_layer=L, vocab_size=V + 1)
    with pytest.raises(InputError, match=r"wte.weight has shape \(11, 6\) .*must be \(12, 6\)"):
        from_pretrained(gpt)


# ---- what cannot be saved --------------------------------------------------------------------


def test_other_models_and_other_numbers_cannot_be_saved(tmp_path):
    model = AttentionLM(AttentionLMConfig(), np.random.default_rng(0))
    with pytest.raises(InputError, match=r"AttentionLM of float32 .*must be a GPT"):
        save_pretrained(model, tmp_path / "new")
    with pytest.raises(InputError, match=r"GPT of complex128"):
        save_pretrained(a_model(GPT, np.complex128), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_folder_of_a_run_is_not_written_over(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="holds a training run"):
        save_pretrained(a_model(GPT), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_a_folder_that_takes_no_files_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write to"):
        save_pretrained(a_model(GPT), tmp_path / "file")
