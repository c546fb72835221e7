"""Memory: what arrays give back is kept, for the next step needs as much; and how much there is."""

import ctypes
import math
import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from .errors import InputError

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8  # M_… in malloc.h of glibc
KEPT = 2**30 - 1  # bytes of free memory that the process may keep


def keep_freed_memory() -> bool:
    """Tell the allocator of glibc to keep the memory that arrays give back. True if it will.

    By default a large array is mapped when it is made and unmapped when it is freed, so that each
    of the temporaries of every step begins with page faults. Here large arrays come from the heap
    (MMAP_MAX 0), which grows in large pieces (TOP_PAD) and does not shrink (TRIM_THRESHOLD).
    Threads that start later share this heap (ARENA_MAX 1): one of their own would shrink. It lasts
    as long as the process. Other platforms are left as they are. Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):  # another C library, such as musl
        return False
    settings = {TRIM_THRESHOLD: KEPT, TOP_PAD: 2**24, MMAP_MAX: 0, ARENA_MAX: 1}
    return all(libc.mallopt(name, value) == 1 for name, value in settings.items())


@cache
def memory() -> int:
    """The bytes of memory that this machine, or the container around it, has."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows, WebAssembly
        return 1 << (35 if sys.maxsize > 2**32 else 31)
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            return min(total, int(file.read()))
    except (OSError, ValueError):  # no container, or one without a limit
        return total


def require_memory(size: float, what: str) -> None:
    """Raise InputError where `size` bytes are more than the machine has: before they are asked for.

    The system would promise them, and end the process when they are used.
    """
    if size > memory():
        raise InputError(
            f"{what} would need {size / 1e9:,.1f} GB, and this machine has {memory() / 1e9:,.1f} "
            "GB: choose smaller sizes"
        )


LENGTHS = (256, 512, 768)  # of the texts that are tried in place of longer ones


def activation_bytes(model: Any, ids: Any, B: int, T: int) -> float:
    """About how many bytes model.loss keeps for its backward, of B windows of T tokens.

        one window more = b(T),    b(T) = α + β T + γ T² through three short T,    B b(T) in all

    ids (n,): some to read. 0 where the model does not take such windows.
    """
    import numpy as np

    def kept(rows: int, length: int) -> int:
        windows = np.resize(ids[: rows * (length + 1)], (rows, length + 1))
        with np.errstate(all="ignore"):
            return _bytes_of(model.loss(windows[:, :-1], windows[:, 1:])[1])

    lengths = LENGTHS if LENGTHS[-1] < T else (T,)
    try:
        each = [kept(2, length) - kept(1, length) for length in lengths]
    except Exception:  # a model of a reader's own may want other windows
        return 0.0
    total = 0.0
    for x, b in zip(lengths, each, strict=True):  # Lagrange's polynomial
        others = [other for other in lengths if other != x]
        total += b * math.prod((T - other) / (x - other) for other in others)
    return B * total


def _bytes_of(cache: Any) -> int:
    """The bytes behind the arrays of a cache; views of one array count once."""
    owners, parts = {}, [cache]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping | tuple | list):
            parts += part.values() if isinstance(part, Mapping) else part
        elif hasattr(part, "nbytes"):
            owner = part if part.base is None or not hasattr(part.base, "nbytes") else part.base
            owners[id(owner)] = owner.nbytes
    return sum(owners.values())
