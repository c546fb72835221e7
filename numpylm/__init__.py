"""numpylm: a language model to read. In the order of the data:

config        what a reader may choose; the error for a mistake
tokenizers    text <-> ids                      (unicode_text: words of every script)
languages     toy languages that are generated, with their entropy
corpora       where text comes from
batches       ids -> (ids, targets)
ops           THE MATHEMATICS: every forward with its backward directly below it
gradcheck     is dL/dx what the code says?
model         named parameters in one vector; files
attention_lm  one matrix embeds, attends and predicts
blocks        what the Transformers share
gpt           decoder only: the next token
bert          encoder only: masked tokens       (bert_heads: a class, an answer)
transformer   encoder and decoder               (translate: greedy and beam search)
optim         SGD, Adam, clipping, learning rates
runs, train   the folder of a run; batch -> loss -> backward -> step
parallel      one gradient from many workers    (allocator: memory that is kept)
metrics       perplexity, accuracy, F1, BLEU
generate      from logits to text
interchange   to and from Hugging Face          (layouts, sentences)
figures       arrays -> pictures
__main__      python -m numpylm ...

Beside it, a folder each:

proofs        who checks the checks: mistakes on purpose, who sees them, which one is yours
course        what the notebooks show and ask; what each piece of a GPT is for
tasks         generation, translation, sentiment, question answering
book          formulas next to the code, in a browser
"""

from .attention_lm import AttentionLM, AttentionLMConfig
from .corpora import Corpus, CorpusConfig, load_corpus
from .errors import InputError
from .gpt import GPT, GPTConfig
from .gradcheck import check_model, check_op
from .model import Model, Parameters
from .optim import SGD, Adam
from .runs import Run, TrainConfig, load_trained
from .sampling import GenerateConfig

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "SGD",
    "Adam",
    "AttentionLM",
    "AttentionLMConfig",
    "Corpus",
    "CorpusConfig",
    "GPTConfig",
    "GenerateConfig",
    "InputError",
    "Model",
    "Parameters",
    "Run",
    "TrainConfig",
    "check_model",
    "check_op",
    "load_corpus",
    "load_trained",
]
