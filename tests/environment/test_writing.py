"""A file is replaced whole or not at all."""

import os

import pytest

from helpers.environment import replacing


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_content_and_text(tmp_path):
    path = tmp_path / "a b.bin"
    for content in (os.urandom(70_001), b"", os.urandom(13)):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    with replacing(str(path), "w", encoding="utf-8") as file:
        file.write("µV")
    assert path.read_text(encoding="utf-8") == "µV"
    assert names(tmp_path) == ["a b.bin"]


@pytest.mark.parametrize("fault", [ValueError("no"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"new")
        raise fault

    with pytest.raises(type(fault)), replacing(path) as file:
        fail(file)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_the_old_file_stays_until_the_block_ends_and_two_writers_do_not_mix(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as slow:
        slow.write(b"slow" * 999)
        assert path.read_bytes() == b"old"
        with replacing(path) as fast:
            fast.write(b"fast")
        assert path.read_bytes() == b"fast"
    assert path.read_bytes() == b"slow" * 999


def test_the_disk_has_the_content_before_the_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append("sync") or fsync(number))
    monkeypatch.setattr(os, "replace", lambda *names: done.append("rename") or replace(*names))
    with replacing(tmp_path / "a.bin") as file:
        file.write(b"new")
    assert done == ["sync", "rename", "sync"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "other").touch()
    with replacing(tmp_path / "a.bin") as file:
        file.write(b"new")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "other").stat().st_mode
