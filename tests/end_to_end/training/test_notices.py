"""A scheduler's notice, whichever processes of a job it reaches, saves the work and ends it."""

import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from inspect import getsource
from itertools import takewhile
from pathlib import Path
from random import randint

import pytest
from calls import log_of, torchrun

from w2v2cli.processes import usable_cores

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "w2v2cli" / "shipped" / "corpus" / "dev-clean"
VALID = CORPUS.with_name("test-clean")
SETTINGS = (
    "model=tiny",
    "shortest_seconds=0.5",
    "crop_seconds=1",
    "objective.distractors=5",
    "validate_every=100000",
    "save_every=100000",
)
ARGUMENTS = "--recipe small --batch-seconds 3 --precision fp32 --device cpu --log-every 10".split()
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def pretrain(out, workers):
    corpora = ["pretrain", str(CORPUS), "-o", str(out), "--valid", str(VALID)]
    settings = [f"--set={setting}" for setting in SETTINGS]
    more = ["--updates", "100000", "--loader-workers", str(workers)]
    return [*corpora, *more, *ARGUMENTS, *settings]


def alone(out, workers):
    return [sys.executable, "-m", "w2v2cli", *pretrain(out, workers)]


def on_ranks(out, workers):
    return torchrun("-m", "w2v2cli", *pretrain(out, workers))


def started(command, folder):
    """Start a job and wait for some updates."""

    def listen():  # a shell starts what it puts into the background with SIGINT ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    job = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=listen,
    )
    began = time.monotonic()
    while len(log_of(folder)) < 3:
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    return job


def family(pid):
    """A process and all its descendants, by their ids; those of other sessions too."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def send(number, pids):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # the notice to another one has ended it
            continue


def assert_ended(pids):
    """Nothing of the job is left, not even the processes that nobody waited for."""
    began = time.monotonic()
    while left := [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and alive(pid)]:
        assert time.monotonic() - began < 30, left
        time.sleep(0.1)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_saved(folder):
    """The state is that of the last update, and the folder's lock is free."""
    done = len(log_of(folder))
    assert [path.name[:14] for path in folder.glob("state-*.pt")] == [f"state-{done:08d}"]
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("workers", "number"), [(0, signal.SIGUSR1), (2, signal.SIGTERM), (4, signal.SIGUSR1)]
)
def test_a_notice_to_every_process_of_a_run_saves_and_ends_well(tmp_path, workers, number):
    job = started(alone(tmp_path, workers), tmp_path)
    pids = family(job.pid)
    assert len(pids) >= 1 + min(workers, usable_cores())
    send(number, pids)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 0 and "Traceback" not in errors, errors
    assert f"Stopped by {number.name}" in errors
    assert_ended(pids)
    assert_saved(tmp_path)


def test_an_interrupt_ends_the_workers_without_a_word_from_them(tmp_path):
    job = started(alone(tmp_path, 2), tmp_path)
    pids = family(job.pid)
    os.killpg(job.pid, signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130 and "Traceback" not in errors, errors
    assert_ended(pids)


def test_a_killed_run_leaves_neither_worker_nor_name(tmp_path, monkeypatch):
    """Fourteen semaphores and a folder with a socket stayed when all of a job was killed."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(temporary))
    job = started(alone(tmp_path, 2), tmp_path)
    pids = family(job.pid)
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    job.kill()
    job.communicate(timeout=60)
    assert_ended(pids)
    assert "/dev/shm/" not in maps
    assert not list(temporary.glob("pymp-*"))


def slurm_lines():
    """The batch script that docs/scale.md prints."""
    page = (ROOT / "docs" / "scale.md").read_text()
    lines = page[page.index("    #!/bin/bash") :].split("\n")
    block = takewhile(lambda line: line.startswith("    "), lines)
    return "".join(line[4:] + "\n" for line in block)


STAND_INS = {
    "srun": 'echo $$ > "$STAND/srun.pid"; exec "$@"',
    "scancel": 'exec "$PYTHON" "$STAND/scancel.py" $(cat "$STAND/srun.pid")',
    "scontrol": 'if [ $1 = show ]; then echo localhost; else echo "$@" >> "$STAND/requeued"; fi',
    "torchrun": 'exec "$PYTHON" -m torch.distributed.run ' + '"${@//29500/$PORT}"',
}


def test_the_lines_for_slurm_save_on_two_ranks_and_queue_the_job_again(tmp_path, monkeypatch):
    stand, run = tmp_path / "stand-ins", tmp_path / "run"
    stand.mkdir()
    for name, line in {**STAND_INS, "w2v2": f"exec {shlex.join(alone(run, 2))}"}.items():
        (stand / name).write_text(f"#!/bin/bash\n{line}\n")
        (stand / name).chmod(0o755)
    parts = ["import os, signal, sys", "from pathlib import Path", getsource(family)]
    parts += [getsource(send), "send(signal.SIGUSR1, family(int(sys.argv[1])))"]
    (stand / "scancel.py").write_text("\n".join(parts))
    script = slurm_lines().replace("--nproc-per-node 8", "--nproc-per-node 2")
    (stand / "job.sh").write_text(script)
    variables = {"STAND": str(stand), "PYTHON": sys.executable, "SLURM_NNODES": "1"}
    variables |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"}
    variables |= {"PATH": f"{stand}:{os.environ['PATH']}", "PORT": str(randint(20_000, 60_000))}
    for name, value in variables.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    job = started(["bash", str(stand / "job.sh")], run)
    pids = family(job.pid)
    job.send_signal(signal.SIGUSR1)  # to the script alone: `B:`
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 0 and "Traceback" not in errors, errors
    assert "Stopped by SIGUSR1" in errors
    assert (stand / "requeued").read_text() == "requeue 7\n"
    assert_ended(pids)
    assert_saved(run)


def test_a_notice_to_the_second_rank_alone_stops_both(tmp_path):
    job = started(on_ranks(tmp_path, 0), tmp_path)
    pids = family(job.pid)
    ranks = sorted(pid for pid in pids[1:] if b"pretrain" in command_of(pid))
    send(signal.SIGUSR1, ranks[1:2])
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 0, errors
    assert "Stopped by SIGUSR1" in errors
    assert_ended(pids)
    assert_saved(tmp_path)


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("number", "code"),
    # torchrun itself ends with 1 where it is asked to end; of USR1 it dies, and leaves its ranks.
    [(signal.SIGTERM, 1), (signal.SIGUSR1, -signal.SIGUSR1)],
)
def test_a_notice_to_torchrun_saves_and_leaves_nothing_behind(tmp_path, number, code):
    job = started(on_ranks(tmp_path, 2), tmp_path)
    pids = family(job.pid)
    send(number, pids[:1])
    _, errors = job.communicate(timeout=60)
    assert job.returncode == code
    assert re.search("Stopped by (SIGTERM|the end of torchrun) after update", errors), errors
    assert_ended(pids)
    assert_saved(tmp_path)
