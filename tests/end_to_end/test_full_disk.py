"""A disk that is full while `w2v2 transcribe` writes."""

import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from w2v2cli.commands.transcribe_options import DEMO

CLIPS = sorted((Path(__file__).parents[2] / "w2v2cli" / "shipped" / "recordings").glob("*.flac"))
ROOM = 4096  # bytes, one page: the first file fits, and then nothing
IN_ITS_OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def can_mount(tmp_path: Path) -> bool:
    try:
        line = f"mount -t tmpfs none {shlex.quote(str(tmp_path))}"
        return subprocess.run([*IN_ITS_OWN_MOUNTS, line], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def command(folder: Path) -> list[str]:
    clips = map(str, CLIPS[:2])
    call = [sys.executable, "-m", "w2v2cli", "transcribe", *clips]
    return [*call, "--format", "json", "--output-dir", str(folder)]


def test_a_full_disk_is_a_sentence_and_leaves_whole_files_only(tmp_path):
    """A file system with room for one page."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("this machine lets no one mount a small disk of their own")
    line = f"mount -t tmpfs -o size={ROOM} none {disk} && {shlex.join(command(disk))}; "
    line += f"code=$?; ls -A {disk}; exit $code"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, line], capture_output=True, text=True, timeout=300, env=environment
    )
    assert result.returncode == 1
    assert (
        result.stderr.removeprefix(f"{DEMO}\n")
        == f"Error: {disk}/{CLIPS[1].stem}.json cannot be written: No space left on device.\n"
    )
    assert result.stdout == f"{CLIPS[0].stem}.json\n"


def test_a_limit_on_files_is_a_sentence_and_the_old_file_stays(tmp_path):
    old = tmp_path / f"{CLIPS[0].stem}.json"
    old.write_text("old")
    result = subprocess.run(
        command(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert result.returncode == 1
    assert result.stderr == f"{DEMO}\nError: {old} cannot be written: File too large.\n"
    assert [path.name for path in tmp_path.iterdir()] == [old.name] and old.read_text() == "old"


def test_training_on_a_disk_that_fills_keeps_the_state_it_has(tmp_path):
    """There is room for one state, not for two.

    The first stays whole, each later one that fails is reported, and the run ends with an error.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("this machine lets no one mount a small disk of their own")
    corpus = CLIPS[0].parents[1] / "corpus" / "dev-clean"
    settings = "model=tiny shortest_seconds=0.5 crop_seconds=2 save_every=4 validate_every=1000"
    call = [sys.executable, "-m", "w2v2cli", "pretrain", str(corpus)]
    call += ["-o", f"{disk}/run", "--valid", str(corpus.with_name("test-clean"))]
    call += "--recipe small --updates 12 --batch-seconds 8 --precision fp32 --device cpu".split()
    call += [f"--set={setting}" for setting in settings.split()]
    line = f"mount -t tmpfs -o size=700k none {disk} && {shlex.join(call)}; "
    line += f"code=$?; ls -A {disk}/run; exit $code"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, line], capture_output=True, text=True, timeout=300, env=environment
    )
    assert result.returncode == 1, result.stderr
    assert (
        "Update 8 could not be saved (No space left on device); what was saved before stays."
        in result.stderr
    )
    assert result.stderr.splitlines()[-1].startswith("Error: The disk is full")
    states = [name for name in result.stdout.split() if name.startswith("state-")]
    assert len(states) == 1 and states[0].startswith("state-00000004-")
    assert ".part" not in result.stdout
