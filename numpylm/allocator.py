"""The memory that arrays give back: keep it, for the next step needs as much."""

import ctypes
import sys

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
