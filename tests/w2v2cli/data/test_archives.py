"""Archives of strangers: what is unpacked, what is refused, and what a kill leaves."""

import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from w2v2cli.data import archives
from w2v2cli.data.archives import ArchiveError, unpack, was_unpacked

FILES = {
    "LibriSpeech/README.TXT": b"about",
    "LibriSpeech/dev/1/2/1-2-0000.flac": bytes(range(256)) * 40,
}


def entry(name, content=b"", **values):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in values.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)


def tar_of(path, *entries):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for info, content in entries:
            content.seek(0)
            tar.addfile(info, content)
    return path


def zip_of(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def packed(path, files=FILES):
    return (
        zip_of(path, files)
        if path.suffix == ".zip"
        else tar_of(path, *(entry(n, c) for n, c in files.items()))
    )


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and ".unpack" not in p.name
    }


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar", "a.zip"])
def test_what_is_packed_comes_out(tmp_path, name):
    seen = []
    assert unpack(
        packed(tmp_path / name), tmp_path / "out", lambda done, total: seen.append((done, total))
    )
    assert tree(tmp_path / "out") == FILES
    assert seen[-1][0] == sum(map(len, FILES.values())) <= seen[-1][1]
    assert not unpack(tmp_path / name, tmp_path / "out")  # once is enough
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".unpacking-")] == []


def test_archives_share_their_top_folder(tmp_path):
    out = tmp_path / "out"
    unpack(packed(tmp_path / "a.tar.gz"), out)
    (out / "LibriSpeech" / "mine.txt").write_text("stays")
    unpack(
        packed(
            tmp_path / "b.zip", {"LibriSpeech/README.TXT": b"newer", "LibriSpeech/test/x": b"x"}
        ),
        out,
    )
    assert tree(out) == FILES | {
        "LibriSpeech/README.TXT": b"newer",
        "LibriSpeech/test/x": b"x",
        "LibriSpeech/mine.txt": b"stays",
    }


def test_an_archive_that_changed_is_unpacked_again(tmp_path):
    unpack(packed(tmp_path / "a.zip"), tmp_path / "out")
    packed(tmp_path / "a.zip", {"LibriSpeech/README.TXT": b"another"})
    assert unpack(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path / "out")["LibriSpeech/README.TXT"] == b"another"


def test_what_was_deleted_since_is_unpacked_again(tmp_path):
    unpack(packed(tmp_path / "a.tar"), tmp_path)
    shutil.rmtree(tmp_path / "LibriSpeech" / "dev")
    assert not was_unpacked("a.tar", tmp_path) and unpack(tmp_path / "a.tar", tmp_path)
    assert was_unpacked("a.tar", tmp_path) and (tmp_path / "LibriSpeech" / "dev" / "1").is_dir()
    assert not was_unpacked("b.tar", tmp_path)


OUTSIDE = [
    (entry("/etc/passwd", b"x"), r"its member '/etc/passwd' would leave the folder"),
    (entry("a/../../x", b"x"), r"its member 'a/../../x' would leave the folder"),
    (entry("../x", b"x"), "would leave the folder"),
    (
        entry("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "is a link out of the folder, to '/etc/passwd'",
    ),
    (
        entry("d/l", type=tarfile.SYMTYPE, linkname="../../x"),
        "is a link out of the folder, to '../../x'",
    ),
    (entry("l", type=tarfile.LNKTYPE, linkname="../x"), "is a link out of the folder"),
    (
        entry("l", type=tarfile.SYMTYPE, linkname="."),
        "is a link to '.', which is not a file before it",
    ),
    (entry("n", type=tarfile.CHRTYPE), "is a device, which no corpus holds"),
    (entry("n", type=tarfile.BLKTYPE), "is a device"),
    (entry("n", type=tarfile.FIFOTYPE), "is a device"),
]


@pytest.mark.parametrize(
    ("bad", "message"), OUTSIDE, ids=[f"{m[0].name} {m[0].linkname}" for m, _ in OUTSIDE]
)
@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar"])
def test_nothing_leaves_the_folder(tmp_path, name, bad, message):
    archive = tar_of(
        tmp_path / "in" / name if (tmp_path / "in").mkdir() is None else None,
        entry("fine.txt", b"x"),
        bad,
    )
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "deep" / "out")
    assert tree(tmp_path / "deep") == {} and sorted(p.name for p in tmp_path.iterdir()) == [
        "deep",
        "in",
    ]


def test_a_link_cannot_lead_what_follows_outside(tmp_path):
    # Each name looks harmless; were links made, the second would write through the first.
    first, second = entry("s", type=tarfile.SYMTYPE, linkname=".."), entry("s/x", b"x")
    with pytest.raises(ArchiveError, match="link out of the folder"):
        unpack(tar_of(tmp_path / "a.tar", first, second), tmp_path / "out")
    assert not (tmp_path / "x").exists()


def test_links_inside_become_files(tmp_path):
    links = [
        entry("d/hard", type=tarfile.LNKTYPE, linkname="a"),
        entry("d/soft", type=tarfile.SYMTYPE, linkname="../a"),
    ]
    unpack(
        tar_of(tmp_path / "a.tar", entry("a", b"one"), *links, entry("a", b"two")), tmp_path / "out"
    )
    assert tree(tmp_path / "out") == {"a": b"two", "d/hard": b"one", "d/soft": b"one"}
    assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize(
    ("name", "mode"), [("../x", 0), ("/x", 0), ("l", 0o120777), ("n", 0o020666)]
)
def test_zips_are_held_to_the_same(tmp_path, name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "../outside")
    with pytest.raises(ArchiveError, match="is not unpacked: its member"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {} and not (tmp_path / "x").exists()


NOISE = np.random.default_rng(1).bytes(400_000)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
@pytest.mark.parametrize("damage", ["half", "empty", "text", "one byte"])
def test_damaged_archives_leave_nothing(tmp_path, name, damage):
    archive = packed(tmp_path / name, {f"d/{i}": NOISE[i * 10_000 :][:10_000] for i in range(40)})
    content = bytearray(archive.read_bytes())
    if damage == "one byte" and name == "a.tar":
        # In the fourth header: files of 10 000 bytes take 20 blocks, and one for their header.
        content[512 * 21 * 3] ^= 255
    elif damage == "one byte":
        content[len(content) // 2] ^= 255
    archive.write_bytes(
        {"half": content[: len(content) // 2], "empty": b"", "text": b"no archive" * 99}.get(
            damage, content
        )
    )
    with pytest.raises(ArchiveError, match="is damaged or not an archive"):
        unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_encrypted_zips_are_said_to_be(tmp_path):
    content = bytearray(zip_of(tmp_path / "a.zip", {"a": b"x"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="is encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
def test_room_is_checked_before_anything_is_written(tmp_path, monkeypatch, name):
    archive = packed(tmp_path / name, {"big": NOISE})
    usage = namedtuple("usage", "free")(archives.SPARE + 300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        ArchiveError, match=r"needs 0.00 GB in .*out, where 0.00 GB are free: make room"
    ):
        unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_an_archive_that_says_it_is_small_is_stopped(tmp_path, monkeypatch):
    archive = packed(tmp_path / "a.tar.gz", {"big": bytes(10_000_000)})
    packed_bytes = archive.read_bytes()
    archive.write_bytes(
        packed_bytes[:-4] + gzip.compress(b"")[-4:]
    )  # the size at its end, modulo 4 GiB
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: namedtuple("usage", "free")(archives.SPARE + 1_000_000)
    )
    with pytest.raises(ArchiveError, match="make room"):
        unpack(archive, tmp_path / "out")


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(source, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "_move_into", full)
    with pytest.raises(ArchiveError, match="The disk is full"):
        unpack(packed(tmp_path / "a.zip"), tmp_path / "out")
    assert tree(tmp_path / "out") == {}


UNPACKING = """
import sys, time
from pathlib import Path
from w2v2cli.data.archives import unpack
def slowly(done, total):
    if done > 20_000:
        print("half", flush=True)
        time.sleep(60)
unpack(Path(sys.argv[1]), Path(sys.argv[2]), slowly)
"""


def test_a_kill_leaves_nothing_half(tmp_path):
    content = {f"d/{i}": NOISE[i * 10_000 :][:10_000] for i in range(4)}
    archive, out = packed(tmp_path / "a.tar.gz", content), tmp_path / "out"
    command = [sys.executable, "-c", UNPACKING, str(archive), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert process.stdout.readline() == b"half\n"
    with pytest.raises(ArchiveError, match="Another process is unpacking"):
        unpack(archive, out)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [p.name for p in out.iterdir() if not p.name.startswith(".")] == []
    started = time.monotonic()
    assert unpack(archive, out)
    assert time.monotonic() - started < 10
    assert tree(out) == content
    assert not (out / ".unpacking-a.tar.gz").exists()


def test_an_archive_that_is_not_there(tmp_path):
    with pytest.raises(ArchiveError, match=r"gone.zip cannot be opened: No such file"):
        unpack(tmp_path / "gone.zip", tmp_path)


def test_a_disk_that_fills_up_with_the_note_leaves_no_half_of_it(tmp_path, monkeypatch):
    def half(path, content, *args, **kwargs):
        data = content.encode() if isinstance(content, str) else content
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device", str(path))

    archive = packed(tmp_path / "a.tar")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(ArchiveError, match="The disk is full"):
            unpack(archive, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")] == []
    assert unpack(archive, tmp_path / "out") and tree(tmp_path / "out") == FILES
