import os
import signal
import subprocess
import sys
import time

import pytest

from numpylm.errors import InputError
from numpylm.processes import side_by_side


def power(base, exponent):
    return base**exponent


def end(how):
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise InputError("a mistake")


def test_results_keep_the_order_of_the_jobs():
    jobs = [(2, 3), (3, 2), (5, 1)]
    assert side_by_side(power, jobs, 1) == side_by_side(power, jobs, 2) == [8, 9, 5]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("how", "message"), [("killed", "was killed"), ("raised", "a mistake")])
def test_a_process_that_fails_ends_all(how, message):
    with pytest.raises(InputError, match=message):
        side_by_side(end, [(how,), (how,)], 2)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from numpylm.processes import side_by_side\n"
        "def work(n):\n"
        "    (Path(sys.argv[1]) / f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(120)\n"
        "if __name__ == '__main__':\n"
        "    side_by_side(work, [(0,), (1,)], 2)\n",
        encoding="utf-8",
    )
    process = subprocess.Popen([sys.executable, script, tmp_path])
    pids = until(lambda: [int(path.stem) for path in tmp_path.glob("*.pid")], 2)
    process.kill()
    process.wait(timeout=60)
    assert until(lambda: [None for pid in pids if not alive(pid)], 2)


def until(found, number):
    for _ in range(600):
        if len(there := found()) == number:
            return there
        time.sleep(0.1)
    raise AssertionError(f"{there} after a minute")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a zombie, where nobody collects orphans
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True
