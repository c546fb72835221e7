"""numpylm: a language model to read. In reading order, which is the order of the data:

config        what a reader may choose; the error for a mistake
tokenizers    text <-> ids
languages     toy languages that are generated, with their entropy
corpora       where text comes from
batches       ids -> (ids, targets)
ops           THE MATHEMATICS: every forward with its backward directly below it
gradcheck     is dL/dx what the code says?      (gradcases: the list of what is checked)
model         named parameters in one vector; files
attention_lm  one matrix embeds, attends and predicts
blocks        what the Transformers share
gpt           decoder only: the next token
optim         SGD, Adam, clipping, learning rates
runs, train   batch -> loss -> backward -> step; a folder that keeps it
metrics       perplexity, accuracy and their kin
generate      from logits to text
figures       arrays -> pictures
__main__      python -m numpylm ...
"""

from .attention_lm import AttentionLM, AttentionLMConfig
from .config import InputError
from .corpora import Corpus, CorpusConfig, load_corpus
from .generate import GenerateConfig
from .gpt import GPT, GPTConfig
from .gradcheck import check_model, check_op
from .model import Model, Parameters
from .optim import SGD, Adam
from .runs import Run, TrainConfig, load_trained

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
