"""Files and folders that are whole or absent: under exceptions, kills, full disks and rivals."""

import errno
import fcntl
import os
import resource
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from storage.whole import locked_file, remove_unfinished, whole_file, whole_folder, write_whole

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def python(script: str, *args: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, **options)


@pytest.mark.parametrize("content", ["Grüße\n", b"\x00\xff", ""])
def test_the_content_arrives_and_nothing_else(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [ValueError("odd"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_leaves_what_was_there(tmp_path, old, error):
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_text(old)
    with pytest.raises(type(error)), whole_file(path) as beside:
        beside.write_text("half")
        assert not path.exists() or path.read_text() == old
        raise error
    assert names(tmp_path) == ([] if old is None else ["a.txt"])
    assert old is None or path.read_text() == old


KILLED = """
import sys, time
from pathlib import Path
from storage.whole import whole_file, whole_folder
whole = {"file": whole_file, "folder": whole_folder}[sys.argv[1]]
with whole(Path(sys.argv[2])) as beside:
    with (beside / "part" if beside.is_dir() else beside).open("wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        print("half", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_the_old_content_and_a_part_to_remove(tmp_path, kind):
    path = tmp_path / "kept"
    if kind == "file":
        path.write_text("old")
    else:
        path.mkdir()
        (path / "part").write_text("old")
    with python(KILLED, kind, path) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert (path if kind == "file" else path / "part").read_text() == "old"
    left = [name for name in names(tmp_path) if name != "kept"]
    assert len(left) == 1 and left[0].startswith(".kept.") and left[0].endswith(".part")
    remove_unfinished(tmp_path, "other")
    assert len(names(tmp_path)) == 2
    remove_unfinished(tmp_path, "kept")
    assert names(tmp_path) == ["kept"]


LOCKED = """
import sys, time
from pathlib import Path
from storage import whole
if sys.argv[1] == "half":
    def paused(path):
        print("half", flush=True)
        time.sleep(600)
    whole._flush = paused
number = whole.locked_file(Path(sys.argv[2]), b"new")
print("whole", flush=True)
time.sleep(600)
"""


def is_free(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_file_keeps_its_lock_until_its_process_ends(tmp_path):
    with python(LOCKED, "whole", tmp_path / "a.txt") as writing:
        try:
            assert writing.stdout.readline() == "whole\n"
            assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "new"
            assert not is_free(tmp_path / "a.txt")
        finally:
            writing.kill()
    assert is_free(tmp_path / "a.txt")


def test_a_file_with_a_lock_grows_and_lets_it_go(tmp_path):
    path = tmp_path / "a.txt"
    number = locked_file(path, b"one")
    os.write(number, b"two")
    assert path.read_text() == "onetwo" and not is_free(path)
    os.close(number)
    assert is_free(path)


def test_a_file_with_a_lock_that_cannot_be_there_leaves_no_descriptor(tmp_path):
    (tmp_path / "folder").mkdir()
    before = os.listdir("/dev/fd")
    with pytest.raises(IsADirectoryError) as raised:
        locked_file(tmp_path / "folder")
    assert raised.value.filename == str(tmp_path / "folder")
    assert len(os.listdir("/dev/fd")) == len(before) and names(tmp_path) == ["folder"]


def test_a_writer_killed_before_its_locked_file_appears_is_swept_and_a_living_one_is_not(tmp_path):
    with python(LOCKED, "half", tmp_path / "living") as living:
        with python(LOCKED, "half", tmp_path / "killed") as killed:
            assert (living.stdout.readline(), killed.stdout.readline()) == ("half\n", "half\n")
            killed.kill()
            killed.wait(60)
        os.close(locked_file(tmp_path / "new.txt"))
        left = set(names(tmp_path)) - {"new.txt"}
        living.kill()
        living.wait(60)
    assert len(left) == 1 and left.pop().startswith(".living.")


WRITER = "import sys; from storage.whole import *; write_whole(Path(sys.argv[1]), 'new')"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_in_a_folder_removes_what_killed_ones_left_and_nothing_else(tmp_path, kind):
    """A run that was killed while it wrote its settings kept half of them for ever."""
    others = (".a.txt.0a1b2c3d.part", ".part", "a.0a1b2c3d4e.part")
    for other in others:
        (tmp_path / other).write_text("somebody's")
    with python(KILLED, kind, tmp_path / "living") as living:
        with python(KILLED, kind, tmp_path / "killed") as killed:
            assert (living.stdout.readline(), killed.stdout.readline()) == ("half\n", "half\n")
            killed.kill()
            killed.wait(60)
        with python(WRITER, tmp_path / "new.txt") as writing:
            assert writing.wait(60) == 0
        left = set(names(tmp_path)) - {*others, "new.txt"}
        living.kill()
        living.wait(60)
    assert len(left) == 1 and left.pop().startswith(".living.")
    with python(WRITER, tmp_path / "new.txt") as writing:
        assert writing.wait(60) == 0
    assert names(tmp_path) == sorted([*others, "new.txt"])


def test_unfinished_files_are_found_by_names_with_brackets(tmp_path):
    (tmp_path / ".[v1].txt.0a1b2c3d.part").write_text("half")
    (tmp_path / ".v.txt.0a1b2c3d.part").write_text("half")
    remove_unfinished(tmp_path, "[v1]")
    assert names(tmp_path) == [".v.txt.0a1b2c3d.part"]


LONG = ["a" * 250, "ä" * 125, "語" * 83, "a" * 255, "語" * 85]


@pytest.mark.parametrize("name", LONG, ids=lambda name: f"{len(name)}{name[0]}")
def test_names_as_long_as_a_file_system_takes(tmp_path, name):
    write_whole(tmp_path / name, "text")
    with whole_folder(tmp_path / f"{name[:-1]}b") as beside:
        (beside / "a").write_text("b")
    assert (tmp_path / name).read_text() == "text"
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("old", [False, True])
def test_permissions_are_those_of_a_file_that_was_opened(tmp_path, umask, old):
    script = """
import os, sys
from pathlib import Path
from storage.whole import whole_folder, write_whole
os.umask(int(sys.argv[1]))
folder = Path(sys.argv[2])
write_whole(folder / "ours", "text")
open(folder / "theirs", "w").close()
with whole_folder(folder / "our folder"):
    pass
os.mkdir(folder / "their folder")
"""
    if old:
        (tmp_path / "ours").write_text("old")
    with python(script, umask, tmp_path) as process:
        assert process.wait(timeout=60) == 0
    for ours, theirs in (("ours", "theirs"), ("our folder", "their folder")):
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (ours, theirs)]
        assert modes[0] == modes[1]


def test_a_folder_that_comes_in_between_stays(tmp_path, monkeypatch):
    """Where it came after the old one was moved away, it was moved away too, and nothing stood."""
    path, renamed, moved = tmp_path / "one", os.rename, []
    path.mkdir()

    def rename(old, new):
        renamed(old, new)
        if old == path and not moved:
            moved.append(new)
            path.mkdir()
            (path / "a").write_text("the rival's")

    with whole_folder(path) as beside:
        (beside / "a").write_text("ours")
        (path / "a").write_text("old")
        monkeypatch.setattr(os, "rename", rename)
    assert names(tmp_path) == ["one"] and (path / "a").read_text() == "the rival's"


RIVAL = """
import sys
from pathlib import Path
from storage.whole import whole_folder, write_whole
path, kind, letter = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("up", flush=True)
sys.stdin.readline()
for _ in range(60):
    if kind == "file":
        write_whole(path, letter * 200_000)
    else:
        with whole_folder(path) as beside:
            (beside / "a").write_text(letter * 1000)
            (beside / "b").write_text(letter * 1000)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_rivals_for_one_name_leave_the_content_of_one_of_them(tmp_path, kind):
    path = tmp_path / "one"
    rivals = [python(RIVAL, path, kind, letter, stdin=subprocess.PIPE) for letter in "xyz"]
    assert [rival.stdout.readline() for rival in rivals] == ["up\n"] * 3
    for rival in rivals:
        rival.stdin.close()
    while any(rival.poll() is None for rival in rivals):
        if kind == "file" and path.exists():
            seen = path.read_bytes()
            assert len(seen) == 200_000 and len(set(seen)) == 1
    assert [rival.wait() for rival in rivals] == [0, 0, 0]
    for rival in rivals:
        rival.stdout.close()
    assert names(tmp_path) == ["one"]
    found = [path.read_text()] if kind == "file" else [(path / n).read_text() for n in "ab"]
    assert len(set("".join(found))) == 1 and sum(map(len, found)) in (200_000, 2000)


def test_a_folder_replaces_the_old_one_and_its_leftovers(tmp_path):
    path = tmp_path / "cache"
    path.mkdir()
    (path / "stale").write_text("old")
    with whole_folder(path) as beside:
        (beside / "fresh").write_text("new")
        assert names(path) == ["stale"]
    assert names(tmp_path) == ["cache"] and names(path) == ["fresh"]
    with pytest.raises(ValueError, match="odd"), whole_folder(path) as beside:
        (beside / "half").write_text("new")
        raise ValueError("odd")
    assert names(tmp_path) == ["cache"] and names(path) == ["fresh"]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
@pytest.mark.parametrize(
    ("name", "number"),
    [("no/such/a", errno.ENOENT), ("a" * 256, errno.ENAMETOOLONG), ("file/a", errno.ENOTDIR)],
)
def test_a_path_that_cannot_be_is_refused_before_the_work_and_by_its_own_name(
    tmp_path, whole, name, number
):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught, whole(tmp_path / name):
        pytest.fail("the work was done in vain")
    assert caught.value.errno == number
    assert str(caught.value.filename) == str(tmp_path / name)


@pytest.mark.parametrize("name", ["folder", ".", "folder/.."])
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(IsADirectoryError), whole_file(Path(name)):
        pytest.fail("the work was done in vain")
    assert names(tmp_path) == ["folder"]


def test_a_file_in_the_place_of_a_folder_stays(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(NotADirectoryError), whole_folder(tmp_path / "a"):
        pytest.fail("the work was done in vain")
    assert (tmp_path / "a").read_text() == "mine" and names(tmp_path) == ["a"]


def test_a_link_stays_a_link(tmp_path):
    disk = tmp_path / "big disk"
    disk.mkdir()
    for name in ("there", "not yet there"):
        (tmp_path / name).symlink_to(disk / name)
    (disk / "there").write_text("old")
    for name in ("there", "not yet there"):
        write_whole(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink() and (disk / name).read_text() == "new"
    assert names(disk) == ["not yet there", "there"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    """As /dev/stdout and /dev/null are: a file renamed over them would be there for everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
    write_whole(pipe, "text")
    assert reader.communicate(timeout=60)[0] == "text"
    assert stat.S_ISFIFO(pipe.stat().st_mode) and names(tmp_path) == ["pipe"]


WRITING = """
import sys
from pathlib import Path
from storage.whole import whole_file, whole_folder
folder = Path(sys.argv[1])
for whole in (whole_file, whole_folder):
    try:
        with whole(folder / "a") as beside:
            (beside / "b" if beside.is_dir() else beside).write_bytes(b"x" * 1_000_000)
    except OSError as error:  # of the folder where a file is in its place, too
        print(whole.__name__, error.errno, error.filename)
"""


def test_a_file_that_grows_too_large_is_an_error_with_the_name_that_was_asked_for(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    (tmp_path / "a").write_text("old")
    with python(WRITING, tmp_path, preexec_fn=limit) as process:
        output, _ = process.communicate(timeout=60)
    assert output.splitlines()[0] == f"whole_file {errno.EFBIG} {tmp_path / 'a'}"
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_full_disk_is_an_error_with_the_name_that_was_asked_for(tmp_path):
    line = f"mount -t tmpfs -o size=16k none {shlex.quote(str(tmp_path))}"
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        possible = subprocess.run([*own_mounts, line], capture_output=True).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("this machine lets no one mount a small disk of their own")
    call = shlex.join([sys.executable, "-c", WRITING, str(tmp_path)])
    line += f" && {call}; ls -A {shlex.quote(str(tmp_path))}"
    result = subprocess.run([*own_mounts, line], capture_output=True, text=True, env=ENVIRONMENT)
    asked = f"{errno.ENOSPC} {tmp_path / 'a'}"
    assert result.stdout.splitlines() == [f"whole_file {asked}", f"whole_folder {asked}"]
