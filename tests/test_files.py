import os
import stat

import pytest

from numpylm.errors import InputError
from numpylm.files import LEFTOVER, read_file, read_json, regular, remove_leftovers, write_whole

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs pipes and links")


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "a"
    write_whole(path, b"old")
    if os.name == "posix":
        path.chmod(0o640)
    write_whole(path, b"new")
    assert read_file(path) == b"new" and [*tmp_path.iterdir()] == [path]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


@POSIX
def test_a_link_is_replaced_and_what_it_points_to_is_unchanged(tmp_path):
    (tmp_path / "theirs").write_bytes(b"mine")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "theirs").read_bytes() == b"mine" and not (tmp_path / "a").is_symlink()


def test_an_error_names_the_file_and_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "a", b"new")
    assert caught.value.filename == str(tmp_path / "a") and len([*tmp_path.iterdir()]) == 1


def test_leftovers_of_killed_writes_are_deleted_and_nothing_else(tmp_path):
    for name in (LEFTOVER.replace("*", "12ab"), "mine.tmp", ".numpylm-mine"):
        (tmp_path / name).write_bytes(b"x")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.tmp", ".numpylm-mine"}


@POSIX
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "long", "sparse", "nul"])
def test_only_regular_files_of_some_size_are_read(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    path = {"device": "/dev/zero", "long": tmp_path / ("a" * 300), "nul": "a\0b"}.get(kind, path)
    for read in (read_file, regular, read_json):
        with pytest.raises(InputError, match=r"cannot be read|name a regular file|bytes") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_json_without_end_is_refused(tmp_path):
    for text in (b"[" * 100_000, b"{", b"\xff", b'"' + b"a" * 100 + b'"'):
        (tmp_path / "a").write_bytes(text)
        with pytest.raises(InputError):
            read_json(tmp_path / "a", limit=100 if text[:1] == b'"' else 1 << 20)
