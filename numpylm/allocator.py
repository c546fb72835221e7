"""Memory: what arrays give back is kept, for the next step needs as much; and how much there is."""

import ctypes
import os
import sys
from functools import cache

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


def require_memory(size: int, what: str) -> None:
    """Raise InputError where `size` bytes are more than the machine has: before they are asked for.

    The system would promise them, and end the process when they are used.
    """
    if size > memory():
        raise InputError(
            f"{what} would need {size / 1e9:,.1f} GB, and this machine has {memory() / 1e9:,.1f} "
            "GB: choose smaller sizes"
        )
