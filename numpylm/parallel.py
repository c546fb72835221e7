"""One gradient from many workers: threads of this machine, processes of many machines.

The mean over a batch is the weighted mean over its shares, so the gradient is too:

    L = Σ_k (N_k/N) L_k      =>      dL/dθ = Σ_k (N_k/N) dL_k/dθ

with N_k the predictions of share k. A thread and a process are the same worker here: K shares give
the same run, to rounding, wherever they are computed, and the same bytes each time for one number
of threads and processes.
"""

import copy
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import copy_context
from inspect import signature
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array, Rng
from .errors import InputError
from .model import Parameters
from .ops import IGNORE
from .optim import blocks_of, in_turn


def one_thread() -> AbstractContextManager[Any]:
    """BLAS on one thread, for products that are too small to share, and sums in one order."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


# ---- processes -------------------------------------------------------------------------------


COUNTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # what mpiexec sets


def started_by_mpiexec() -> int:
    """How many processes the mpiexec around this one has started; 1 where there is none."""
    counts = [os.environ.get(name, "") for name in COUNTED]
    return max([int(count) for count in counts if count.isdecimal()], default=1)


class Team:
    """The processes that train one model together, each with a copy of it. Without MPI, one.

    As a context: an error in one process ends all of them, for the others would wait forever.
    """

    def __init__(self, comm: Any = None):
        self.comm = comm
        self.rank: int = comm.rank if comm else 0
        self.size: int = comm.size if comm else 1

    @classmethod
    def over_mpi(cls) -> "Team":
        """The processes that mpiexec has started. Raises InputError where there is no MPI."""
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # no mpi4py, or no MPI library behind it
            raise InputError(
                f"--distributed needs mpi4py and an MPI library ({error}): pip install mpi4py mpich"
            ) from error
        return cls(MPI.COMM_WORLD)

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def add(self, vector: Array) -> None:
        """Replace `vector` by its sum over all processes: an all-reduce, in place."""
        if self.size > 1:
            from mpi4py import MPI

            self.comm.Allreduce(MPI.IN_PLACE, vector)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in some process; the answer is the same in all."""
        return any(self.comm.allgather(flag)) if self.size > 1 else flag

    def require_same(self, things: Mapping[str, Any]) -> None:
        """Raise InputError, in all processes, unless they hold the same things by name."""
        if self.size == 1:
            return
        sums = {name: zlib.crc32(repr(thing).encode()) for name, thing in things.items()}
        others = self.comm.allgather(sums)
        names = dict.fromkeys(name for found in others for name in found)
        if differ := [name for name in names if len({found.get(name) for found in others}) > 1]:
            raise InputError(
                f"the processes differ in {', '.join(differ)}: start all of them with the same "
                "options, the same files and the same libraries"
            )

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None or self.size == 1:
            return
        mistake = isinstance(error, InputError)
        if mistake and not self.leads:
            time.sleep(1)  # where the one that leads has met it too, it says it for all
        if mistake:
            print(f"numpylm: process {self.rank}: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)
        time.sleep(0.2)  # mpiexec forgets what it has not passed on when it ends
        self.comm.Abort(2 if mistake else 1)
        os._exit(2 if mistake else 1)  # MPI may return before it ends this process


ALONE = Team()


# ---- shares of a batch -----------------------------------------------------------------------


class Shares(NamedTuple):
    """The caches of this process's shares, and the weight N_k/N of each."""

    caches: list[Any]
    weights: list[float]


class Workers:
    """The two calls of a model that training needs, with every batch cut into K shares.

    K = workers × team.size: this process computes `workers` of them at once, each in a thread, and
    the team adds up the rest. All processes must be given the same batch and the same rng. NumPy
    releases the interpreter inside its loops, so threads do run at once; the model keeps nothing
    between two calls, so they may share it.
    """

    def __init__(self, model: Any, workers: int = 1, team: Team = ALONE):
        self.model, self.workers, self.team = model, workers, team
        self.draws = takes(model.loss, "rng")  # a loss of a reader's own may not
        self.pool = ThreadPoolExecutor(workers)

    def loss(self, *batch: Any, rng: Rng | None = None, **named: Any) -> Any:
        """The model's loss of the whole batch, and the cache of the shares of this process.

        batch, named: the arguments of model.loss; each array is cut along its first axis.
        Each share draws from a generator of its own, seeded by the state of rng. That is left as it
        was, so the order of the data does not depend on K. With K = 1 this is model.loss.
        """
        K = self.workers * self.team.size
        shares = _shares(batch, named, K) if K > 1 else []
        if not any(_predicts(*share) for share in shares):  # nothing to share, or nothing at all
            return self._loss((batch, named), rng)
        rngs = [None] * K if rng is None else _generators(rng, K)
        first = self.team.rank * self.workers
        mine = [
            (share, own)
            for share, own in list(zip(shares, rngs, strict=True))[first : first + self.workers]
            if _predicts(*share)
        ]
        parts = self._at_once(self._loss, mine)
        N_k = [predictions(self.model, cache) for _, cache in parts]
        nats = [n * float(loss) for n, (loss, _) in zip(N_k, parts, strict=True)]
        total = np.array([sum(nats), sum(N_k)], np.float64)
        self.team.add(total)
        N = total[1]
        return total[0] / N, Shares([cache for _, cache in parts], [n / N for n in N_k])

    def _loss(self, share: "Share", rng: Rng | None) -> Any:
        ordered, by_name = share
        return self.model.loss(*ordered, **by_name, **({"rng": rng} if self.draws else {}))

    def loss_backward(self, cache: Any) -> Parameters:
        """dL/dparams of `loss`, the same in every process: added in the order of the shares."""
        if not isinstance(cache, Shares):
            alone: Parameters = self.model.loss_backward(cache)
            return alone
        each = self._at_once(self.model.loss_backward, zip(*cache, strict=True))
        total: Parameters
        total, *others = each or [self.model.params.like()]

        def add(block: slice) -> None:
            for other in others:
                total.flat[block] += other.flat[block]

        self.spread(add, blocks_of(total.flat))
        self.team.add(total.flat)
        return total

    def spread(self, function: Callable[[slice], Any], blocks: list[slice]) -> list[Any]:
        """function(block) for every block, in order; each thread takes some that lie together."""
        cuts = [len(blocks) * k // self.workers for k in range(self.workers + 1)]
        parts = [(function, blocks[a:b]) for a, b in pairwise(cuts) if a < b]
        if len(parts) <= 1:
            return in_turn(function, blocks)
        return list(chain(*self._at_once(in_turn, parts)))

    def _at_once(self, function: Any, arguments: Any) -> list[Any]:
        """function(*a) for every a, in threads; each inherits np.errstate, which is a context."""
        tasks = [self.pool.submit(copy_context().run, function, *a) for a in arguments]
        try:
            return [task.result() for task in tasks]
        finally:
            wait(tasks)  # an error in one must not leave others at work on the parameters


def _generators(rng: Rng, K: int) -> list[Rng]:
    seeds = copy.deepcopy(rng).integers(2**63, size=K)
    return [np.random.default_rng(seed) for seed in seeds]


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of this name."""
    parameters = signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


Share = tuple[Sequence[Any], dict[str, Any]]  # arguments of loss: in order, and by name


def _shares(batch: tuple[Any, ...], named: dict[str, Any], K: int) -> list[Share]:
    """Every argument cut into K parts along its first axis; what is None stays None."""
    arrays = [np.asarray(a) for a in (*batch, *named.values()) if a is not None]
    if len({array.shape[:1] for array in arrays}) != 1 or not arrays[0].ndim:
        raise InputError(
            f"the arrays of a batch have shapes {[array.shape for array in arrays]}: to share it "
            "among workers all need the same first axis, one row for each example"
        )

    def cut(argument: Any) -> list[Any]:
        return [None] * K if argument is None else np.array_split(np.asarray(argument), K)

    ordered, by_name = [cut(a) for a in batch], {name: cut(a) for name, a in named.items()}
    return [
        ([parts[k] for parts in ordered], {name: parts[k] for name, parts in by_name.items()})
        for k in range(K)
    ]


def _predicts(ordered: Sequence[Any], by_name: dict[str, Any]) -> bool:
    """Whether a share has rows, and no array that is IGNORE throughout."""
    arrays = (a for a in (*ordered, *by_name.values()) if a is not None)
    return not any((array == IGNORE).all() for array in arrays)


def predictions(model: Any, cache: Any) -> int:
    """N: over how many predictions the loss behind `cache` is the mean.

    The caches of our losses keep it. A model with a loss of its own says it in a method
    `predictions(cache)`; without one, InputError.
    """
    if hasattr(model, "predictions"):
        said: int = model.predictions(cache)
        return said
    try:
        kept: int = cache[1].N
        return kept
    except (AttributeError, TypeError, IndexError, KeyError):
        raise InputError(
            f"{type(model).__name__}.loss does not say over how many predictions it is the mean, "
            "which sharing a batch needs: define predictions(cache) -> int, or use one worker"
        ) from None


# ---- what it is worth ------------------------------------------------------------------------


def ring_all_reduce_seconds(
    machines: int, vector_bytes: float, bandwidth: float, latency: float
) -> float:
    """The time to add one vector over n machines in a ring, bytes, bytes/s and seconds.

        2 (n − 1)/n bytes/bandwidth + 2 (n − 1) latency

    In n − 1 rounds the n parts of the vector travel round the ring and are added up; in another
    n − 1 the sums travel round. Each round sends 1/n of the vector. Therefore the first term hardly
    grows with n, while the second does.
    Source: Patarasuk and Yuan 2009, Bandwidth Optimal All-reduce Algorithms, section 3.
    """
    rounds = 2 * (machines - 1)
    return rounds / machines * vector_bytes / bandwidth + rounds * latency
