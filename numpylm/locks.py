"""One writer at a time: a lock on a folder, which the system gives back when its holder ends.

The lock is on a file in the folder that says who holds it. A process that is killed leaves the file
and loses the lock, so nothing has to be tidied up. `filelock` does the same, but cannot say who.
"""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import InputError

NAME = ".lock"
BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
PLACE = 1 << 20  # the byte that Windows locks, which nobody could read meanwhile


class FolderLock:
    """A context in which no other process, and no other lock of this one, has the folder.

    It may be entered again while it is held. InputError, which names the holder, where another has
    it. On a file system without locks it is not taken.
    """

    def __init__(self, folder: Path, name: str = NAME):
        self.folder, self.path = folder, folder / name
        self.depth, self.number = 0, -1

    def __enter__(self) -> "FolderLock":
        if not self.depth:
            self._take()
        self.depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        self.depth -= 1
        if not self.depth:
            self._give_back()

    def _take(self) -> None:
        while True:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self.number = os.open(self.path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
            try:
                _lock(self.number)
            except OSError as error:
                who = os.pread(self.number, 200, 0) if hasattr(os, "pread") else b""
                os.close(self.number)
                if error.errno not in BUSY:
                    self.number = -1
                    return
                holder = who.decode(errors="replace").strip() or "another process"
                raise InputError(
                    f"{self.folder} is in use by {holder}: wait until it ends, or stop it"
                ) from error
            if self._is_ours():
                break
            os.close(self.number)  # whoever held it deleted the file meanwhile
        os.ftruncate(self.number, 0)
        os.write(self.number, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.number), os.stat(self.path))
        except OSError:
            return False

    def _give_back(self) -> None:
        if self.number < 0:
            return
        with suppress(OSError):
            if os.name == "posix" and self._is_ours():
                self.path.unlink()  # while it is held: nobody else can have it
        os.close(self.number)
        self.number = -1


def _lock(number: int) -> None:
    """Raise OSError with a number in BUSY where another has the lock."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        windows: Any = msvcrt
        os.lseek(number, PLACE, os.SEEK_SET)
        windows.locking(number, windows.LK_NBLCK, 1)
        os.lseek(number, 0, os.SEEK_SET)
