"""What is printed, and where to: a terminal, a pipe whose reader has gone, a device that is full.

Work never stops because somebody does not listen: `say` and `Progress` give up silently, or with
one line on standard error.
"""

import errno
import os
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any

from .unicode_text import printable

GONE = (errno.EPIPE, errno.EIO, errno.ESHUTDOWN)  # nobody reads: a closed pipe or terminal


def steady_streams() -> None:
    """Print what does not fit a terminal's encoding as "?", instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")


def say(text: str) -> None:
    """Print a text while work goes on: that must not end because of the words."""
    try:
        print(text, flush=True)
    except OSError as error:
        output_failed(error)


def tell(text: str) -> None:
    """One line on standard error, if it can be had."""
    with suppress(OSError, ValueError):
        print(f"numpylm: {printable(text)}", file=sys.stderr, flush=True)


def output_failed(error: OSError) -> None:
    """Print nothing more, and say why, unless the reader has just gone."""
    if error.errno not in GONE:
        tell(f"cannot print: {error.strerror or error}; what was saved is whole")
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def finish() -> int:
    """Print what is still waiting: 0, or 2 if that fails for another reason than a reader's end."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        output_failed(error)
        return 0 if error.errno in GONE else 2
    return 0


class Progress:
    """How far a training is: a bar in a terminal, elsewhere a line for each evaluation."""

    def __init__(self, total: int, done: int, silent: bool = False):
        self.total, self.done, self.silent = total, done, silent
        self.bar: Any = None
        if not silent and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=done, unit="step")

    def step(self) -> None:
        """One step more."""
        self.done += 1
        if self.bar is not None:
            self._try(self.bar.update)

    def evaluated(self, text: str) -> None:
        """What an evaluation has found."""
        if self.bar is not None:
            self._try(self.bar.set_postfix_str, text)
        elif not self.silent:
            line = f"step {self.done:,} of {self.total:,}: {text}"
            self._try(lambda: print(line, file=sys.stderr, flush=True))

    def _try(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except (OSError, ValueError):  # the terminal is closed, or the device full
            self.bar, self.silent = None, True

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self._try(self.bar.close)
