import os
import signal
import subprocess
import sys

import pytest

from numpylm.errors import InputError
from numpylm.locks import NAME, FolderLock


def test_a_second_lock_is_told_who_has_the_first(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    with first, first, pytest.raises(InputError, match=f"in use by process {os.getpid()} on "):
        second.__enter__()
    with second:
        assert (tmp_path / NAME).exists()
    assert os.name != "posix" or not (tmp_path / NAME).exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_lock_of_a_killed_process_is_free_again(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from numpylm.locks import FolderLock\n"
        "with FolderLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match=f"process {process.pid} "):
        FolderLock(tmp_path).__enter__()
    process.kill()
    process.communicate(timeout=60)
    with FolderLock(tmp_path):
        pass
