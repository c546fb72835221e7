"""Files that are whole or unchanged, and files that are read only where that must end.

Whatever a command writes goes through `write_whole`; whatever a user names goes through `read_file`
or `regular`, so that a pipe, a device or a sparse file of a terabyte is refused before it is read.
"""

import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from .allocator import memory
from .errors import InputError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
JSON_LIMIT = 1 << 26  # bytes of a JSON text; a tokenizer of 250,000 symbols has a third of it
LEFTOVER = ".numpylm-*.tmp"  # what a killed write leaves


def write_whole(path: Path | str, data: bytes) -> None:
    """Replace the content of `path` in one step, or not at all. Raises OSError that names `path`.

    The bytes go to a new file beside it, whose name nobody can guess; it is flushed to the disk and
    renamed over `path`, and the folder is flushed: a kill at any moment leaves the old file or the
    new one. The permissions of a file that is there are kept.
    """
    path = Path(path)
    temporary = path.with_name(LEFTOVER.replace("*", secrets.token_hex(8)))
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        with temporary.open("xb") as file:  # "x": never what is there, nor through a link
            file.write(data)
            file.flush()
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, KeyboardInterrupt) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, on systems and disks that can."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        pass  # some file systems cannot; the file itself is flushed
    finally:
        os.close(number)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writes have left in a folder that nobody else writes to."""
    for path in folder.glob(LEFTOVER):
        with suppress(OSError):
            path.unlink()


def regular(path: Path | str, what: str = "", limit: int | None = None) -> Path:
    """`path`, if it is a regular file of at most `limit` bytes; InputError for anything else.

    limit: by default half of the machine's memory. what: how the error calls it.
    """
    path, name = Path(path), f"{what} {path}".strip()
    try:
        info = os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read: {reason(error)}") from error
    _check(info, name, limit)
    return path


def _check(info: os.stat_result, name: str, limit: int | None) -> int:
    kind = stat.S_IFMT(info.st_mode)
    if kind != stat.S_IFREG:
        raise InputError(f"{name} is {KINDS.get(kind, 'no file')}: name a regular file")
    limit = memory() // 2 if limit is None else limit
    if info.st_size > limit:
        raise InputError(
            f"{name} has {info.st_size:,} bytes, more than the {limit:,} that are read"
        )
    return limit


def read_file(path: Path | str, what: str = "", limit: int | None = None) -> bytes:
    """The bytes of a regular file, as `regular` wants it; InputError where it cannot be read."""
    name = f"{what} {path}".strip()
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            limit = _check(os.fstat(file.fileno()), name, limit)
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if os.path.isdir(path):  # Windows does not even open one
            raise InputError(f"{name} is a folder: name a regular file") from error
        raise InputError(f"{name} cannot be read: {reason(error)}") from error
    if len(data) > limit:
        raise InputError(f"{name} has more than the {limit:,} bytes that are read")
    return data


def read_json(path: Path | str, what: str = "", limit: int = JSON_LIMIT) -> Any:
    """What the JSON text in a file says; InputError where it is none, or nested without end."""
    try:
        return json.loads(read_file(path, what, limit).decode("utf-8"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path}".strip() + f" cannot be read: {error}") from error


def reason(error: Exception) -> str:
    """Why the system refused, in words."""
    return getattr(error, "strerror", None) or str(error)
