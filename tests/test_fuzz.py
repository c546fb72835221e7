"""What a user, a disk or a stranger can hand to numpylm: one line and exit status 2, or it works.

A short run is part of the tests. `python -m tests.test_fuzz 600 7` goes on for 600 seconds from
seed 7, prints how much it tried, and ends with 1 if anything failed.
"""

import io
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from numpylm.__main__ import main
from numpylm.config import MOST
from numpylm.errors import InputError

TINY = ["--steps", "2", "--eval-every", "2", "--sentences", "8", "--heldout-sentences", "4"]
WORDS = ["", " ", "é", "我", "\x1b[31m", "-", "--", "a" * 300, ".", "..", "/dev/zero", "/dev/null",
         "None", "true", "[]", "\udcff", "loop", "pipe", "run", "no/where", "folder"]  # fmt: skip
NUMBERS = ["0", "-1", "1", "2", "3", "1.5", "nan", "inf", "-inf", "1e309", "1e-320", "1e30", "x",
           "0x10", "1_000", "٣", str(MOST), str(MOST + 1), str(10**19), str(2**63), str(2**64),
           "9" * 400, "9" * 5000, "999999", "1e9"]  # fmt: skip
OPTIONS = ["--width", "--context-length", "--batch-size", "--layers", "--heads", "--max-vocab",
           "--min-count", "--seed", "--data-seed", "--learning-rate", "--init-std", "--scale",
           "--clip", "--warmup", "--final-rate", "--momentum", "--beta1", "--beta2", "--workers",
           "--weight-decay", "--eval-windows", "--eval-every", "--hidden", "--base", "--eps",
           "--dropout", "--groups", "--tokens", "--temperature", "--top-k", "--top-p", "--next",
           "--seeds", "--processes"]  # fmt: skip
TEXTS = ["--corpus", "--text", "--tokenizer", "--out", "--resume", "--model", "--context",
         "--optimizer", "--schedule", "--prompt", "--languages", "--rungs", "--locale"]  # fmt: skip
KNOWN = ["topics", "abab", "words", "characters", "attention", "gpt", "llama", "sgd", "last"]


def command_line(rng):
    """Words for a command that cannot take long: what is large is to be refused."""
    command = rng.choice(["train"] * 4 + ["evaluate", "generate", "task", "book",
                         "notebooks", "figures", "induction", "nothing", ""])  # fmt: skip
    words = [command]
    if command == "train":
        words += rng.choice(
            [TINY, TINY, [*TINY, "--corpus", "topics", "--width", "8", "--model", "gpt"]]
        )
    elif command in ("evaluate", "generate"):
        words += [rng.choice(["run", *WORDS])]
        words += rng.choice([[], ["--prompt", rng.choice(WORDS)]])
    elif command in ("task", "book", "figures", "induction", "notebooks"):
        words += [rng.choice(["qa", "sentiment"])] if command == "task" else []
        words += ["--out", rng.choice(["", ".", "file", "file/x", "loop", "a" * 300, "/proc/x"])]
    for _ in range(rng.randrange(4)):
        if rng.random() < 0.6:
            words += [rng.choice(OPTIONS), rng.choice(NUMBERS)]
        else:
            words += [rng.choice(TEXTS), rng.choice(WORDS + KNOWN)]
    return words


def prepare(folder):
    """A folder with a run, and things that a command should not stumble over."""
    (folder / "file").write_text("mine", encoding="utf-8")
    (folder / "folder").mkdir()
    if hasattr(Path, "symlink_to") and sys.platform != "win32":
        import os

        (folder / "loop").symlink_to(folder / "loop")
        os.mkfifo(folder / "pipe")
    with chdir(folder):
        assert quietly(["train", "--out", "run", *TINY])[0] == 0


def quietly(words):
    """Exit status, and what stands on standard error. A traceback is an error of this test."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return main(words), err.getvalue()
        except SystemExit as end:
            return end.code, err.getvalue()


def one_line(words):
    """A complaint, where a command line is neither carried out nor refused in one line."""
    began = time.monotonic()
    try:
        code, said = quietly(words)
    except BaseException:
        return f"{words}: {traceback.format_exc()}"
    lines = [line for line in said.splitlines() if line.startswith("numpylm: ")]
    usage = "error: " in said
    if code == 2 and not (len(lines) == 1 or usage):
        return f"{words}: {said!r}"
    if code == 2 and time.monotonic() - began > 10:
        return f"{words}: refused after {time.monotonic() - began:.0f} s"
    return "" if code in (0, 2) else f"{words}: exit status {code}"


def damage(data, rng):
    """A file with flipped bits, a cut, a piece twice, or numbers of its header changed."""
    data = bytearray(data)
    kind = rng.randrange(6)
    if kind == 0:
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        data[: rng.randrange(12)] = rng.randbytes(rng.randrange(12))
    elif kind == 3:
        at = rng.randrange(len(data))
        data[at:at] = data[at : at + rng.randrange(1, 200)]
    elif kind == 4:
        start = rng.randrange(len(data))
        data[start : start + 8] = rng.randbytes(8)
    else:
        return bytes(described(bytes(data), rng))
    return bytes(data)


VALUES = [None, True, -1, 0, 10**9, 10**12, 10**30, 1.5, "x", "", [], {}, [[]] * 3, {"a": 1}]


def described(data, rng):
    """A checkpoint without a checksum, of format 2, with one value of its description changed."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    about = json.loads(header["__metadata__"]["numpylm"])
    del about["checksum"]
    about["format"] = 2
    place = about
    while True:
        key = rng.choice([*place]) if isinstance(place, dict) else rng.randrange(len(place))
        deeper = place[key]
        if not (isinstance(deeper, dict | list) and deeper) or rng.random() < 0.3:
            break
        place = deeper
    place[key] = rng.choice(VALUES)
    text = json.dumps(about)
    if rng.random() < 0.1:
        text = text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    header["__metadata__"]["numpylm"] = text
    new = json.dumps(header).encode()
    return len(new).to_bytes(8, "little") + new + data[8 + size :]


def try_command_line(folder, rng):
    with chdir(folder):
        return one_line(command_line(rng))


def try_checkpoint(folder, rng):
    """A damaged checkpoint is refused, or loads because nothing that counts has changed."""
    whole = (folder / "run" / "checkpoint.safetensors").read_bytes()
    data = damage(whole, rng)
    broken = folder / "broken"
    broken.mkdir(exist_ok=True)
    for name in ("config.json", "log.jsonl"):
        (broken / name).write_bytes((folder / "run" / name).read_bytes())
    (broken / "checkpoint.safetensors").write_bytes(data)
    with chdir(folder):
        return one_line(rng.choice([["evaluate", "broken"], ["train", "--resume", "broken"],
                        ["generate", "broken", "--prompt", "cat"]]))  # fmt: skip


TRIALS = {"command lines": try_command_line, "checkpoints": try_checkpoint}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz")
    prepare(path)
    return path


@pytest.mark.parametrize("seed", range(2000, 2020))
def test_a_command_line_works_or_is_refused_in_one_line(folder, seed):
    assert not try_command_line(folder, random.Random(seed))


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_checkpoint_is_refused_in_one_line_or_means_the_same(folder, seed):
    assert not try_checkpoint(folder, random.Random(seed))


def test_every_flipped_bit_of_a_checkpoint_is_seen(folder):
    from numpylm.trained import load_trained

    data = (folder / "run" / "checkpoint.safetensors").read_bytes()
    rng = random.Random(0)
    path = folder / "flipped.safetensors"
    for _ in range(200):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(InputError):
            load_trained(path)


def long_run(seconds, seed):
    """Try until the time is over; the number of failures."""
    failures, tried = 0, dict.fromkeys(TRIALS, 0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        prepare(Path(name))
        rng, end = random.Random(seed), time.monotonic() + seconds
        while time.monotonic() < end:
            kind = rng.choice([*TRIALS])
            complaint = TRIALS[kind](Path(name), rng)
            tried[kind] += 1
            if complaint:
                failures += 1
                print(complaint)
    print(", ".join(f"{n} {kind}" for kind, n in tried.items()), f"{failures} failures")
    return failures


if __name__ == "__main__":
    sys.exit(long_run(float(sys.argv[1]), int(sys.argv[2])) > 0)
