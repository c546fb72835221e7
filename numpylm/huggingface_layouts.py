"""How Hugging Face's library transformers names what the models are made of: tables.

A Layout is all that huggingface.py needs to know of a class of transformers. Linear maps are
(in, out) here and in GPT-2, and (out, in) in BERT and Llama, which have one each for q, k and v.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from .bert import BERT, BERTForMaskedLM
from .bert_heads import BERTForClass, BERTForSpan
from .blocks import Shapes
from .errors import InputError
from .gpt import GPT
from .llama import Llama
from .model import Model

# ---- the tables: parameter here -> tensor there; {i} is a block, {a|b} are two side by side ----

GPT2_NAMES = {
    "E": "transformer.wte.weight",
    "P": "transformer.wpe.weight",
    "block{i}.norm1.gain": "transformer.h.{i}.ln_1.weight",
    "block{i}.norm1.bias": "transformer.h.{i}.ln_1.bias",
    "block{i}.attention.w_qkv": "transformer.h.{i}.attn.c_attn.weight",
    "block{i}.attention.b_qkv": "transformer.h.{i}.attn.c_attn.bias",
    "block{i}.attention.w_out": "transformer.h.{i}.attn.c_proj.weight",
    "block{i}.attention.b_out": "transformer.h.{i}.attn.c_proj.bias",
    "block{i}.norm2.gain": "transformer.h.{i}.ln_2.weight",
    "block{i}.norm2.bias": "transformer.h.{i}.ln_2.bias",
    "block{i}.feed_forward.w_in": "transformer.h.{i}.mlp.c_fc.weight",
    "block{i}.feed_forward.b_in": "transformer.h.{i}.mlp.c_fc.bias",
    "block{i}.feed_forward.w_out": "transformer.h.{i}.mlp.c_proj.weight",
    "block{i}.feed_forward.b_out": "transformer.h.{i}.mlp.c_proj.bias",
    "norm.gain": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
}
BERT_NAMES = {
    "E": "bert.embeddings.word_embeddings.weight",
    "G": "bert.embeddings.token_type_embeddings.weight",
    "P": "bert.embeddings.position_embeddings.weight",
    "norm.gain": "bert.embeddings.LayerNorm.weight",
    "norm.bias": "bert.embeddings.LayerNorm.bias",
    "block{i}.attention.w_qkv": "bert.encoder.layer.{i}.attention.self.{query|key|value}.weight",
    "block{i}.attention.b_qkv": "bert.encoder.layer.{i}.attention.self.{query|key|value}.bias",
    "block{i}.attention.w_out": "bert.encoder.layer.{i}.attention.output.dense.weight",
    "block{i}.attention.b_out": "bert.encoder.layer.{i}.attention.output.dense.bias",
    "block{i}.norm1.gain": "bert.encoder.layer.{i}.attention.output.LayerNorm.weight",
    "block{i}.norm1.bias": "bert.encoder.layer.{i}.attention.output.LayerNorm.bias",
    "block{i}.feed_forward.w_in": "bert.encoder.layer.{i}.intermediate.dense.weight",
    "block{i}.feed_forward.b_in": "bert.encoder.layer.{i}.intermediate.dense.bias",
    "block{i}.feed_forward.w_out": "bert.encoder.layer.{i}.output.dense.weight",
    "block{i}.feed_forward.b_out": "bert.encoder.layer.{i}.output.dense.bias",
    "block{i}.norm2.gain": "bert.encoder.layer.{i}.output.LayerNorm.weight",
    "block{i}.norm2.bias": "bert.encoder.layer.{i}.output.LayerNorm.bias",
}
MASKED_LM_NAMES = {
    "transform.w": "cls.predictions.transform.dense.weight",
    "transform.b": "cls.predictions.transform.dense.bias",
    "transform.gain": "cls.predictions.transform.LayerNorm.weight",
    "transform.bias": "cls.predictions.transform.LayerNorm.bias",
    "predict.b": "cls.predictions.bias",
}
CLASS_NAMES = {
    "pooler.w": "bert.pooler.dense.weight",
    "pooler.b": "bert.pooler.dense.bias",
    "classes.w": "classifier.weight",
    "classes.b": "classifier.bias",
}
SPAN_NAMES = {"span.w": "qa_outputs.weight", "span.b": "qa_outputs.bias"}
LLAMA_NAMES = {
    "E": "model.embed_tokens.weight",
    "block{i}.norm1.gain": "model.layers.{i}.input_layernorm.weight",
    "block{i}.attention.w_qkv": "model.layers.{i}.self_attn.{q|k|v}_proj.weight",
    "block{i}.attention.w_out": "model.layers.{i}.self_attn.o_proj.weight",
    "block{i}.norm2.gain": "model.layers.{i}.post_attention_layernorm.weight",
    "block{i}.feed_forward.w_in": "model.layers.{i}.mlp.{gate|up}_proj.weight",
    "block{i}.feed_forward.w_out": "model.layers.{i}.mlp.down_proj.weight",
    "norm.gain": "model.norm.weight",
    "U": "lm_head.weight",  # of a model that is not tied
}
OLD_ENDINGS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

# Second copies, which some files hold: each must equal its original.
TIED = (
    ("lm_head.weight", "transformer.wte.weight"),
    ("lm_head.weight", "model.embed_tokens.weight"),
    ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ("cls.predictions.decoder.bias", "cls.predictions.bias"),
)
# What a file may hold and the model does not need: masks and counts, which are computed here, and
# what BERT was trained with beside its masked words, unless the model has that head.
GPT2_UNUSED = ("transformer.h.{i}.attn.bias", "transformer.h.{i}.attn.masked_bias")
BERT_UNUSED = (
    "bert.embeddings.position_ids",
    "bert.embeddings.token_type_ids",
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
)
LLAMA_UNUSED = ("model.layers.{i}.self_attn.rotary_emb.inv_freq",)

# ---- config.json: option here -> field there -------------------------------------------------

GPT2_FIELDS = {
    "vocab_size": "vocab_size",
    "context_length": "n_positions",
    "layers": "n_layer",
    "heads": "n_head",
    "width": "n_embd",
    "dropout": "resid_pdrop",
    "init_std": "initializer_range",
}
BERT_FIELDS = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "width": "hidden_size",
    "hidden": "intermediate_size",
    "segments": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "eps": "layer_norm_eps",
    "init_std": "initializer_range",
}
LLAMA_FIELDS = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "groups": "num_key_value_heads",
    "width": "hidden_size",
    "hidden": "intermediate_size",
    "base": "rope_theta",
    "eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
    "init_std": "initializer_range",
}


def _gpt2_fixed(config: Any) -> dict[str, tuple[Any, ...]]:
    """Fields that have no option here -> the values that mean what GPT does; first the default."""
    return {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_epsilon": (1e-5,),
        "n_inner": (None, 4 * config.width),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    }


def _bert_fixed(config: Any) -> dict[str, tuple[Any, ...]]:
    """The same of BERT."""
    return {
        "hidden_act": ("gelu", "gelu_python"),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
        "problem_type": (None, "single_label_classification"),
    }


def _llama_fixed(config: Any) -> dict[str, tuple[Any, ...]]:
    """The same of Llama, with what its successors have and it has not."""
    return {
        "hidden_act": ("silu", "swish"),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "head_dim": (config.head_width, None),
        "rope_type": ("default",),
        "rope_scaling": (None,),
        "partial_rotary_factor": (1.0, None),
        "pretraining_tp": (1, None),
    }


def llama_fields(about: dict[str, Any]) -> dict[str, Any]:
    """config.json of a Llama with every field at its top: old files leave out what had one value,
    and new ones keep rope_theta under rope_parameters."""
    rope = about.get("rope_parameters")
    if rope is not None and not isinstance(rope, dict):
        raise InputError(f"rope_parameters must be fields by name, not {rope!r}")
    old: dict[str, Any] = {"rope_theta": 10000.0, "tie_word_embeddings": False}
    old |= {"rms_norm_eps": 1e-6, "initializer_range": 0.02}
    old["num_key_value_heads"] = about.get("num_attention_heads")
    return old | about | (rope or {})


NOWHERE = {  # what no model here does, whatever the architecture; each absent or as here
    "quantization_config": (None,),
    "sliding_window": (None,),
    "num_experts": (None, 0),
    "num_local_experts": (None, 0, 1),
}


class Layout(NamedTuple):
    """How transformers keeps one of its classes, and the model here that computes the same."""

    kind: type[Model]
    names: dict[str, str]
    model_type: str
    prefix: str  # of the tensors; files of a bare encoder or decoder lack it
    unused: tuple[str, ...]
    fields: dict[str, str]
    fixed: Callable[[Any], dict[str, tuple[Any, ...]]]


_GPT2 = Layout(GPT, GPT2_NAMES, "gpt2", "transformer.", GPT2_UNUSED, GPT2_FIELDS, _gpt2_fixed)
_BERT = Layout(BERT, BERT_NAMES, "bert", "bert.", BERT_UNUSED, BERT_FIELDS, _bert_fixed)
_LLAMA = Layout(Llama, LLAMA_NAMES, "llama", "model.", LLAMA_UNUSED, LLAMA_FIELDS, _llama_fixed)
LAYOUTS = {
    "GPT2LMHeadModel": _GPT2,
    "GPT2Model": _GPT2,  # its head is its own embedding, so nothing is missing
    "BertModel": _BERT,
    "BertForMaskedLM": _BERT._replace(kind=BERTForMaskedLM, names=BERT_NAMES | MASKED_LM_NAMES),
    "BertForSequenceClassification": _BERT._replace(
        kind=BERTForClass, names=BERT_NAMES | CLASS_NAMES
    ),
    "BertForQuestionAnswering": _BERT._replace(kind=BERTForSpan, names=BERT_NAMES | SPAN_NAMES),
    "LlamaForCausalLM": _LLAMA,
}


def places_of(layout: Layout, config: Any) -> dict[str, list[str]]:
    """Parameter -> the tensors that it is made of, side by side."""
    places = {}
    for ours, theirs in layout.names.items():
        alternatives = re.search(r"\{(\w+(?:\|\w+)+)\}", theirs)
        parts = alternatives[1].split("|") if alternatives else [""]
        for i in range(config.layers if "{i}" in ours else 1):
            names = [
                theirs.replace(alternatives[0], part) if alternatives else theirs for part in parts
            ]
            places[ours.format(i=i)] = [name.format(i=i) for name in names]
    return {name: places[name] for name in shapes_of(layout, config)}


def widths_of(layout: Layout, config: Any, parameter: str, size: int) -> list[int]:
    """How many of a parameter's last `size` columns each of its tensors has."""
    if layout.kind is Llama and parameter.endswith("w_qkv"):
        D, G = config.head_width, config.key_heads
        return [config.heads * D, G * D, G * D]
    count = len(places_of(layout, config)[parameter])
    return [size // count] * count


def turned(layout: Layout, parameter: str) -> bool:
    """Whether the tensors are (out, in), as torch.nn.Linear has them, and the parameter is not."""
    return layout.model_type != "gpt2" and parameter.split(".")[-1].startswith("w")


def shapes_of(layout: Layout, config: Any) -> Shapes:
    """Parameter -> shape, with the biases that GPT-2 always has."""
    return layout.kind.shapes(replace(config, bias=True) if layout.kind is GPT else config)
