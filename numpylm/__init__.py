"""numpylm: a language model to read. What most readers need is imported from here:

    corpus = Corpus.from_text(text)
    model = GPT(layers=2, vocab_size=corpus.tokenizer.vocab_size)
    result = train(model, corpus, steps=500)
    print(generate(model, corpus, "the "))

The modules in reading order. The first eight are an afternoon:

ops                  THE MATHEMATICS: every forward with its backward directly below it
attention_lm         the one-matrix model: it embeds, attends and predicts
gradcheck            is dL/dx what the code says?
model                named parameters in one flat vector
blocks               what the Transformers share
gpt                  decoder only: the next token
optim                SGD, Adam, clipping, learning rates
training             batch -> loss -> backward -> step

llama                GPT after 2019: the next token
llama_blocks         what a Llama has that GPT-2 has not
blockwise_attention  the same attention with less work, or with less memory
bert                 encoder only: masked tokens
bert_heads           a class, an answer
transformer          encoder and decoder
objectives           after pre-training: answers, rewards, preferences
low_rank             a matrix stays, a product of two thin ones is added
watching             what flows between the parts of a model: see it, replace it
tokenizers           text <-> ids
unicode_text         words and characters of every script
languages            toy languages that are generated, with their entropy
corpora              where text comes from
encodings            which bytes of a file are text
batches              ids -> (ids, targets)
sampling             from logits to text
translate            greedy and beam search
metrics              perplexity, accuracy, F1, BLEU
answers              texts or tokens, and the right ones for them
train_config         the options of a training
divergence           has it diverged, and why?
reports              what a person is told about a training
runs                 a training and its folder
trained              what a checkpoint of a run holds
log_files            a line a step, judged by its steps
logs                 logs as columns of numbers, and runs side by side
recipes              what the command line trains by name
signals              Ctrl-C, answered between two steps
files                files that are whole or unchanged
locks                one writer at a time
terminals            who reads what is printed, if anybody does
checkpoints          tensors and a description, with a checksum
config               what a reader may choose
arguments            what every function asks of what it is given
arrays               NumPy's fast idioms, by names that say what they do
errors               the error for a reader's mistake
callables            any function of a reader's: its arguments, and whose gradient is whose
gradient_verdicts    from evidence to a verdict on a gradient: the table, and the report
gradient_questions   what a gradient check asks of a pair of functions
gradient_of_models   and of a model
gradient_evidence    a closer look at one entry
gradient_judge       the table, applied
gradient_hidden      what a gain of 1 and a bias of 0 hide
parallel             one gradient from many workers
processes            work in several processes, which end with their parent
allocator            memory that is kept, and how much there is
chat                 a published model, its tokenizer, a conversation
huggingface          to and from Hugging Face
huggingface_layouts  what its files call each parameter
huggingface_text     and their tokenizers
gguf_files           from the files of llama.cpp
pretrained           a published model by its name, and what it costs
sentence_embeddings  one vector for a sentence, from BERT
figures              arrays -> pictures
labels               text as a figure may show it
drawings             boxes and arrows: what schematics are drawn with
commands             what the commands do: train, evaluate, generate, gradcheck
course_commands      what those of the course do, of the tasks and of the book
__main__             python -m numpylm ...

Beside them, a folder each:

checks               is it right, and would it be noticed if it were not?
inside               where a number comes from, and what changes if one intervenes
course               what the notebooks show and ask; what each piece of a GPT is for
tasks                generation, translation, sentiment, question answering
post                 a pre-trained model is put to a use: transfer, rewards, scale
book                 formulas next to the code, in a browser
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:  # what is said here for type checkers, HOME says for the rest
    from .attention_lm import AttentionLM as AttentionLM
    from .attention_lm import AttentionLMConfig as AttentionLMConfig
    from .bert import BERT as BERT
    from .bert import BERTConfig as BERTConfig
    from .checks.contracts import check_contracts as check_contracts
    from .checks.diagnose import diagnose as diagnose
    from .corpora import Corpus as Corpus
    from .corpora import CorpusConfig as CorpusConfig
    from .corpora import load_corpus as load_corpus
    from .errors import InputError as InputError
    from .gpt import GPT as GPT
    from .gpt import GPTConfig as GPTConfig
    from .gradcheck import check_model as check_model
    from .gradcheck import check_op as check_op
    from .huggingface import from_pretrained as from_pretrained
    from .huggingface import save_pretrained as save_pretrained
    from .inside.explain import explain as explain
    from .llama import Llama as Llama
    from .llama import LlamaConfig as LlamaConfig
    from .logs import compare as compare
    from .logs import read_log as read_log
    from .metrics import evaluate as evaluate
    from .model import Model as Model
    from .model import Parameters as Parameters
    from .optim import SGD as SGD
    from .optim import Adam as Adam
    from .pretrained import load_pretrained as load_pretrained
    from .runs import Run as Run
    from .sampling import GenerateConfig as GenerateConfig
    from .sampling import generate as generate
    from .train_config import TrainConfig as TrainConfig
    from .trained import load_trained as load_trained
    from .training import Training as Training
    from .training import train as train
    from .transformer import Transformer as Transformer
    from .transformer import TransformerConfig as TransformerConfig

HOME = {  # where each name is written; its module is imported when the name is first asked for
    "AttentionLM": "attention_lm",
    "AttentionLMConfig": "attention_lm",
    "GPT": "gpt",
    "GPTConfig": "gpt",
    "Llama": "llama",
    "LlamaConfig": "llama",
    "BERT": "bert",
    "BERTConfig": "bert",
    "Transformer": "transformer",
    "TransformerConfig": "transformer",
    "Corpus": "corpora",
    "CorpusConfig": "corpora",
    "load_corpus": "corpora",
    "train": "training",
    "Training": "training",
    "evaluate": "metrics",
    "generate": "sampling",
    "GenerateConfig": "sampling",
    "SGD": "optim",
    "Adam": "optim",
    "TrainConfig": "train_config",
    "Run": "runs",
    "read_log": "logs",
    "compare": "logs",
    "check_op": "gradcheck",
    "check_model": "gradcheck",
    "diagnose": "checks.diagnose",
    "check_contracts": "checks.contracts",
    "explain": "inside.explain",
    "load_trained": "trained",
    "from_pretrained": "huggingface",
    "save_pretrained": "huggingface",
    "load_pretrained": "pretrained",
    "Model": "model",
    "Parameters": "model",
    "InputError": "errors",
}
__all__ = list(HOME)

if not TYPE_CHECKING:  # a checker that saw it would take any name for one of ours

    def __getattr__(name):
        """A name of HOME, or a module: `numpylm.ops` needs no import of its own."""
        if name in HOME:
            value = getattr(import_module(f"{__name__}.{HOME[name]}"), name)
            globals()[name] = value  # so that it is asked for once
            return value
        if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
