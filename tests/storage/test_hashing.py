"""Hashes of files: right after every kind of change, and quick for large files without one."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import hashing
from storage.hashing import REMEMBERED, file_hash, hash_of, remembered_check, remembered_hash

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("W2V2_HOME", str(folder))
    return folder


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * REMEMBERED)
    return path


def expected(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unread(monkeypatch):
    """From now on reading a file's content fails the test."""
    monkeypatch.setattr(hashing, "file_hash", lambda path: pytest.fail(f"{path} was read again"))


@pytest.mark.parametrize("size", [0, 1, hashing.BLOCK, hashing.BLOCK + 1])
def test_the_hash_is_that_of_the_content(tmp_path, store, size):
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))
    assert file_hash(path) == remembered_hash(path) == remembered_hash(path) == expected(path)


def test_lines_are_hashed_in_order_whatever_bytes_they_stand_for():
    assert hash_of("a", "ä") == hashlib.sha256("a\nä\n".encode()).hexdigest()
    assert hash_of("a", "b") != hash_of("b", "a")
    assert hash_of(os.fsdecode(b"\xff")) == hashlib.sha256(b"\xff\n").hexdigest()


def test_a_large_file_is_read_once_and_a_small_one_leaves_no_note(
    large, store, tmp_path, monkeypatch
):
    small = tmp_path / "small"
    small.write_text("text")
    remembered_hash(small)
    assert not store.exists()
    first = remembered_hash(large)
    unread(monkeypatch)
    assert remembered_hash(large) == first == expected(large)
    assert [path.read_text() for path in (store / "hashes").iterdir()] == [first]


def rewritten(path):
    path.write_bytes(b"y" * REMEMBERED)


def one_byte_in_place(path):
    with path.open("r+b") as file:
        file.seek(REMEMBERED // 2)
        file.write(b"y")


def replaced_with_the_old_time(path):
    """As `cp -p`, `rsync -t` and `tar` do: the size and the time of the content stay the same."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"y" * REMEMBERED)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)


def written_in_place_with_the_old_time(path):
    status = path.stat()
    one_byte_in_place(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = [
    rewritten,
    one_byte_in_place,
    replaced_with_the_old_time,
    written_in_place_with_the_old_time,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_file_is_hashed_again(large, store, change):
    before = remembered_hash(large)
    change(large)
    assert remembered_hash(large) == expected(large) != before


def test_a_file_that_changes_while_it_is_read_is_not_remembered(large, store, monkeypatch):
    def read_slowly(path):
        found = file_hash(path)
        one_byte_in_place(path)
        return found

    monkeypatch.setattr(hashing, "file_hash", read_slowly)
    remembered_hash(large)
    monkeypatch.undo()
    monkeypatch.setenv("W2V2_HOME", str(store))
    assert not store.exists() and remembered_hash(large) == expected(large)


@pytest.mark.parametrize("damage", [b"", b"abc", b"z" * 64, b"\xff" * 64, b"0" * 65])
def test_a_damaged_note_is_made_anew(large, store, damage):
    remembered_hash(large)
    note = next((store / "hashes").iterdir())
    note.write_bytes(damage)
    assert remembered_hash(large) == expected(large) == note.read_text()


def test_a_check_that_held_is_asked_again_when_the_content_may_have_changed(large, store):
    asked = []

    def check(path):
        asked.append(path)
        return path.read_bytes()[:1] == b"x"

    def times(path) -> int:
        before = len(asked)
        assert remembered_check(path, check) and remembered_check(path, check)
        return len(asked) - before

    assert times(large) == 1
    os.utime(large, ns=(0, large.stat().st_mtime_ns))  # it was read
    assert times(large) == 0
    large.write_bytes(b"y" * REMEMBERED)
    assert not remembered_check(large, check) and not remembered_check(large, check)
    assert len(asked) == 3
    large.write_bytes(b"x" * REMEMBERED)
    [note] = (store / "hashes").iterdir()
    note.write_bytes(b"")
    assert times(large) == 1


def test_a_store_that_cannot_be_written_to_only_costs_time(large, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    for home in ("/proc/none", tmp_path / "a file" / "store"):
        monkeypatch.setenv("W2V2_HOME", str(home))
        assert remembered_hash(large) == expected(large)


def test_a_name_that_is_not_text_has_a_hash_too(tmp_path, store):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.bin"))
    path.write_bytes(b"x" * REMEMBERED)
    assert remembered_hash(path) == remembered_hash(path) == expected(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path, store):
    for hashed in (file_hash, remembered_hash):
        with pytest.raises(FileNotFoundError):
            hashed(tmp_path / "gone")


HASHING = """
import sys
from pathlib import Path
from storage.hashing import remembered_hash
print("up", flush=True)
sys.stdin.readline()
print(remembered_hash(Path(sys.argv[1])))
"""


def test_processes_at_once_find_the_same(large, store):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "W2V2_HOME": str(store)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HASHING, str(large)]
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in started] == ["up\n"] * 3
    assert [process.communicate("\n", timeout=60)[0].strip() for process in started] == [
        expected(large)
    ] * 3
    assert [path.read_text() for path in (store / "hashes").iterdir()] == [expected(large)]
