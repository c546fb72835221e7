import pytest

from numpylm.errors import InputError
from numpylm.log_files import LogFile, log_lines, mended


def line(step):
    return b'{"step": %d, "loss": 1.5}\n' % step


WHOLE = b"".join(map(line, range(1, 6)))


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (WHOLE, 0),
        (WHOLE + line(6) + b'{"step": 7, "lo', 0),  # ahead of the checkpoint, and torn
        (WHOLE + line(4) + line(5), 0),  # two processes
        (b"\xff\xfe\n" + WHOLE + b"[" * 50_000 + b"\n", 0),
        (line(5) + line(1) + line(2) + line(4) + line(3), 0),
        (line(1) + b'{"step": 2, "lo\n' + line(4) + line(5), 2),
        (b"", 5),
        (b'{"step": 1, "loss": 1%s}\n' % (b"0" * 400), 5),  # more than a float holds
        (b'{"step": 1%s, "loss": 1}\n' % (b"0" * 30), 5),
        (b'"text"\n{"step": true}\n{"step": "1"}\n{"step": -1}\n[1]\n', 5),
    ],
)
def test_a_log_is_mended_by_its_steps_and_what_is_lost_is_said(tmp_path, data, missing):
    (tmp_path / "log.jsonl").write_bytes(data)
    kept, note = mended(tmp_path / "log.jsonl", 5)
    assert kept.count(b"\n") == 5 - missing and (kept == WHOLE) == (not missing)
    assert (f"lacks {missing} of 5 steps" in note) == bool(missing)


def test_a_log_that_is_not_there_is_a_log_without_lines(tmp_path):
    assert mended(tmp_path / "log.jsonl", 0) == (b"", "")


@pytest.mark.parametrize("data", [line(2) + line(2), line(3) + line(1), b"\xff\n", b"{}\n", b"5\n"])
def test_what_is_read_is_the_log_of_one_run(tmp_path, data):
    (tmp_path / "log.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=r"log of .*run: line \d"):
        log_lines(tmp_path)


def test_a_log_that_is_deleted_meanwhile_is_written_again(tmp_path):
    path = tmp_path / "log.jsonl"
    with LogFile(path) as log:
        log.write({"step": 1})
        log.flush()
        try:
            path.unlink()
        except PermissionError:
            pytest.skip("this system keeps a file that is open")
        log.write({"step": 2})
        log.flush()
        log.write({"step": 3})
    assert [found["step"] for found in log_lines(path)] == [1, 2, 3]
