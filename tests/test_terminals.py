import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from numpylm.terminals import Progress

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
TINY = ["--steps", "4", "--eval-every", "2", "--sentences", "30", "--heldout-sentences", "10"]


def run(words, folder, **settings):
    words = [sys.executable, "-m", "numpylm", *words]
    return subprocess.run(words, cwd=folder, timeout=120, **settings)


@POSIX
@pytest.mark.parametrize("reader", ["gone", "full"])
def test_a_training_is_finished_and_drawn_whoever_listens(tmp_path, reader):
    if reader == "gone":
        read, output = os.pipe()
        os.close(read)
    else:
        if not Path("/dev/full").exists():
            pytest.skip("needs a device that is always full")
        output = os.open("/dev/full", os.O_WRONLY)
    ended = run(["train", "--out", "run", *TINY], tmp_path, stdout=output, stderr=subprocess.PIPE)
    os.close(output)
    assert b"Traceback" not in ended.stderr and b"Exception ignored" not in ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith(b"numpylm")]
    assert len(said) == (reader == "full")
    assert (tmp_path / "run" / "loss.png").exists() and not (tmp_path / "run" / ".lock").exists()


def in_encoding(encoding, words, folder):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    ended = run(words, folder, env=environment, capture_output=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def trained_in_ascii(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encodings")
    (folder / "é.txt").write_text("ä 我 ∂ é. " * 100, encoding="utf-8")
    in_encoding("ascii", ["train", "--text", "é.txt", "--out", "ü", *TINY], folder)
    assert (folder / "ü" / "loss.png").exists()
    return folder


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", b"? ? ? ?"), ("cp1252", b"\xe4 ? ? \xe9"), ("gbk", None)]
)
def test_what_a_terminal_cannot_show_is_replaced(trained_in_ascii, encoding, shown):
    words = ["generate", "ü", "--prompt", "ä 我 ∂ é", "--tokens", "0"]
    out = in_encoding(encoding, words, trained_in_ascii).rstrip()
    assert out == (shown or "? 我 ? é".encode("gbk"))


def test_progress_in_a_pipe_is_a_line_for_each_evaluation(capsys):
    with Progress(4, 0) as shown:
        for step in range(4):
            shown.step()
            if step % 2:
                shown.evaluated(f"loss {step}")
    assert capsys.readouterr().err == "step 2 of 4: loss 1\nstep 4 of 4: loss 3\n"


@POSIX
def test_a_terminal_that_closes_saves_the_run(tmp_path):
    words = [sys.executable, "-m", "numpylm", "train", "--out", "run", "--steps", "100000"]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup ignores it
    )
    assert process.stderr is not None and "step 100 of" in process.stderr.readline()
    process.send_signal(signal.SIGHUP)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    assert "--resume run" in output
