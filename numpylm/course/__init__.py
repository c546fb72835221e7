"""What the notebooks show and ask. In a notebook, one line imports what its cells use:

    from numpylm.course import *

notation        every formula and every letter
cards           a formula beside its code
graphs          a computation with its numbers, and the slopes below them
exercises       a question that grades its answer
stages          a backward, filled in one line at a time
problems        what it asks: solutions, inputs, and the mistakes that are made
ladder          what each piece of a GPT is for, in nats
bug             find the bug: a mistake, its symptoms, and a reader who names it
heads           why one head cannot tell XOR, and two can
induction       why two layers can do what one cannot
schematics      how the models are put together, drawn
course_figures  those of the README
notebook_files  run the notebooks, keep what they printed, compare it
grading         students' notebooks against the checks (grading_worker: one of them, apart)
links           where a notebook runs in a browser
"""

from importlib import import_module
from typing import Any

WHERE = {  # the module of each name; it is imported when the name is first asked for
    "matplotlib": "rc_context",
    "matplotlib.figure": "Figure",
    "threadpoolctl": "threadpool_limits",
    "numpylm.arrays": "row_mean",
    "numpylm.attention_lm": "AttentionLM AttentionLMConfig",
    "numpylm.batches": "sample_batch sweep",
    "numpylm.bert": "BERT BERTConfig BERTForMaskedLM mask_tokens",
    "numpylm.bert_heads": "BERTForClass BERTForSpan best_span",
    "numpylm.blocks": "cross_attention_forward feed_forward_backward feed_forward_forward "
    "multi_head_backward multi_head_forward self_attention_backward self_attention_forward",
    "numpylm.blockwise_attention": "causal_attention_forward online_attention_forward",
    "numpylm.checks.contracts": "Contender batches_do_not_matter causality check_contracts "
    "independence learner loss_is_cross_entropy no_leak order_is_used",
    "numpylm.checks.diagnose": "diagnose",
    "numpylm.checks.mutants": "EQUIVALENT MUTANTS",
    "numpylm.checks.mutation": "Mutant applied",
    "numpylm.checks.oracles": "closing heading kill_matrix",
    "numpylm.corpora": "CorpusConfig bigram_nats landmarks load_corpus unigram_nats",
    "numpylm.course.bug": "Bug",
    "numpylm.course.bug_levels": "of_level",
    "numpylm.course.bug_symptoms": "LEVELS symptoms_of",
    "numpylm.course.cards": "card",
    "numpylm.course.course_figures": "s1_s2_s3",
    "numpylm.course.exercises": "check check_backward",
    "numpylm.course.induction": "InductionConfig after_the_same draw_induction induction_scores "
    "train_layers",
    "numpylm.course.ladder": "RUNGS Job LadderConfig climb draw_ladder order_free_entropy spread "
    "train_rung",
    "numpylm.errors": "InputError",
    "numpylm.figures": "BLUE COLOURS GREEN MARKERS ORANGE RED SKY STYLE attention_map "
    "embedding_plane four_paths heatmaps loss_curve marked_attention reading_maps v_curve",
    "numpylm.gpt": "GPT GPTConfig",
    "numpylm.gradcheck": "central_difference check_model check_op complex_step gradient_error",
    "numpylm.huggingface": "from_pretrained save_pretrained",
    "numpylm.huggingface_layouts": "LAYOUTS places_of",
    "numpylm.languages": "LANGUAGES TOPICS markov order2",
    "numpylm.llama": "Llama LlamaConfig",
    "numpylm.llama_blocks": "gated_feed_forward_forward grouped_query_forward rms_norm_backward "
    "rms_norm_forward rotary_forward rotation silu_forward",
    "numpylm.low_rank": "Adapted low_rank_forward",
    "numpylm.metrics": "bleu evaluate exact_match perplexity precision_recall_f1 token_f1 "
    "token_nats",
    "numpylm.model": "Parameters",
    "numpylm.objectives": "answer_targets best_policy clipped_backward clipped_forward "
    "group_advantages kl_estimate_backward kl_estimate_forward kl_forward "
    "policy_gradient_forward preference_backward preference_forward text_logp_forward",
    "numpylm.ops": "IGNORE attention_backward attention_forward causal_mask "
    "cross_entropy_backward cross_entropy_forward dropout_backward dropout_forward "
    "embedding_backward embedding_forward gelu_backward gelu_forward layer_norm_backward "
    "layer_norm_forward linear_backward linear_forward nll_forward output_backward output_forward "
    "positions_forward sinusoidal_positions smoothed_cross_entropy_backward "
    "smoothed_cross_entropy_forward softmax_backward softmax_forward",
    "numpylm.optim": "SGD Adam clip_by_global_norm learning_rate_at transformer_rate",
    "numpylm.parallel": "Workers ring_all_reduce_seconds",
    "numpylm.post.enumeration": "exact_gradient exact_value expected_weights "
    "log_probabilities make_game towards_parameters",
    "numpylm.post.rollouts": "RewardConfig Rewarded Rollouts",
    "numpylm.post.scaling": "ScalingConfig chain counted counted_excess draw_scaling excess "
    "fit_counts pair_counts scaling_text",
    "numpylm.post.transfer": "Head TransferConfig sentences transfer_text",
    "numpylm.runs": "Run",
    "numpylm.sampling": "GenerateConfig generate_ids next_probabilities",
    "numpylm.tokenizers": "WordTokenizer",
    "numpylm.train_config": "TrainConfig",
    "numpylm.training": "Training train",
    "numpylm.transformer": "Transformer TransformerConfig",
    "numpylm.translate": "Translation beam_search greedy target_nats",
}
HOME = {name: module for module, names in WHERE.items() for name in names.split()}
MODULES = {"np": "numpy", "ops": "numpylm.ops"}  # these are asked for as a whole

__all__ = [*HOME, *MODULES]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(MODULES[name])
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
