"""Ctrl-C and SIGTERM, answered between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Remember Ctrl-C and SIGTERM until the loop asks; a second one interrupts at once."""
    seen: list[int] = []

    def remember(signum: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(signum)

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(signum, remember) for signum in signals]
    except ValueError:  # only the main thread may answer signals
        yield lambda: False
        return
    try:
        yield lambda: bool(seen)
    finally:
        for signum, handler in zip(signals, before, strict=True):
            signal.signal(signum, handler)
