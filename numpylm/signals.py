"""Ctrl-C, SIGTERM and a terminal that is closed, answered between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether a signal has come. `safe`: whether a second one may interrupt what is being done."""

    def __init__(self) -> None:
        self.seen = 0
        self.safe = True

    def __call__(self) -> bool:
        return self.seen > 0

    def remember(self, signum: int, frame: Any) -> None:
        """A second one interrupts an evaluation, not a step; a third one interrupts at once."""
        self.seen += 1
        if self.seen > 2 or (self.seen == 2 and self.safe):
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Remember Ctrl-C, SIGTERM and SIGHUP until the loop asks. Under nohup SIGHUP is nothing."""
    stop = Stop()
    signals = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signals.append(hangup)
    try:
        before = [signal.signal(signum, stop.remember) for signum in signals]
    except ValueError:  # only the main thread may answer signals
        yield stop
        return
    try:
        yield stop
    finally:
        for signum, handler in zip(signals, before, strict=True):
            signal.signal(signum, handler)
