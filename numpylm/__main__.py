"""The command line: python -m numpylm COMMAND; --help lists the commands.

Only the command that is asked for adds its options and imports what it uses: see commands.py
and course_commands.py.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__, commands, course_commands
from .course_commands import OF_THE_PROJECT, in_the_project
from .errors import InputError
from .terminals import GONE, finish, output_failed, steady_streams, tell


def main(words: Sequence[str] | None = None) -> int:
    """Run one command. A user's mistake ends in one line on standard error and the number 2.

    Ctrl-C while nothing is being trained ends in one line too, and in 130.
    """
    words = sys.argv[1:] if words is None else words
    steady_streams()
    try:
        flags = parser(words).parse_args(words)
        return int(flags.run_command(flags)) or finish()
    except SystemExit:  # how argparse ends
        finish()
        raise
    except InputError as error:
        message = str(error)
    except MemoryError as error:
        message = f"not enough memory ({error}): ask for less"
    except RecursionError as error:
        message = f"something in the input is nested too deeply ({error})"
    except OSError as error:
        if error.filename is None:  # of what was printed: files have names
            output_failed(error)
            return 0 if error.errno in GONE else 2
        message = f"{error.filename}: {error.strerror or error}"
    except KeyboardInterrupt:
        tell("interrupted; what was saved is whole")
        return 130
    finish()
    tell(" ".join(message.split("\n")))
    return 2


def parser(words: Sequence[str]) -> ArgumentParser:
    """The parser for `words`: it lists every command, and knows the options of the one in them."""
    installed = Path(sys.argv[0]).stem == "numpylm"  # the console script
    whole = ArgumentParser(
        prog="numpylm" if installed else "python -m numpylm",
        description="A language model to read: train it, check its gradients, look inside.",
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"numpylm {__version__}")
    below = whole.add_subparsers(required=True, metavar="COMMAND")
    asked = next((word for word in words if not word.startswith("-")), "")
    for name, (add_options, run) in {**commands.COMMANDS, **course_commands.COMMANDS}.items():
        text = run.__doc__ or ""
        listed: dict[str, Any] = {"help": text}
        if name in OF_THE_PROJECT and not in_the_project():
            listed = {}
        added = below.add_parser(name, description=text, allow_abbrev=False, **listed)
        added.set_defaults(run_command=run)
        if name == asked:
            add_options(added, words)
    return whole


if __name__ == "__main__":
    sys.exit(main())
