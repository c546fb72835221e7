"""Work in several processes, which end when the one that started them is gone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from .errors import InputError


def side_by_side(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], processes: int
) -> list[Any]:
    """function(*job) of every job, in their order, in new processes; with one, in this one.

    New processes read the script that called this, so a script calls it under
    `if __name__ == "__main__":`. Raises InputError where one of them is killed.
    """
    if min(processes, len(jobs)) == 1:
        return [function(*job) for job in jobs]
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, begin)
    try:
        results = [future.result() for future in [pool.submit(function, *job) for job in jobs]]
    except BaseException as error:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a process was killed while it computed, most often for want of memory: ask for "
                "fewer at the same time, or for less"
            ) from error
        raise
    pool.shutdown()
    return results


def begin() -> None:
    """In a new process: Ctrl-C is for the parent alone, and its end is the end of this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # also after a SIGKILL: the system closes the pipe between the two
        os._exit(1)
