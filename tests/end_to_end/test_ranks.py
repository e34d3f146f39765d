"""`w2v2 transcribe` and `w2v2 eval` under torchrun: two real ranks, and real kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from w2v2cli.recognition.devices import precision_taken
from w2v2cli.recognition.sharing.ranks import seconds_of, split_by_length

SHIPPED = Path(__file__).parents[2] / "w2v2cli" / "shipped"
CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))
W2V2 = [sys.executable, "-m", "w2v2cli"]
TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "w2v2cli",
]
EVAL = [
    "eval",
    "--split",
    "dev-clean",
    "--data",
    SHIPPED / "corpus",
    "--lm",
    "none",
    "--search",
    "greedy",
    "--json",
]
CLOCK = {"wall_seconds", "times_real_time"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Its own temporary folder, to see that nothing stays in it."""
    temporary = tmp_path_factory.mktemp("temporary")
    return {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}


def call(command, *args, environment, **options) -> subprocess.CompletedProcess:
    line = [*command, *map(str, args)]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=300, env=environment, **options
    )


def parts_left(environment) -> list[Path]:
    return list(Path(environment["TMPDIR"]).glob("w2v2-*"))


def pid_of_rank(rank: int, torchrun: subprocess.Popen) -> int:
    """The process that torchrun started as this rank, once it is there."""
    while True:
        assert torchrun.poll() is None, torchrun.communicate()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                environment = (process / "environ").read_bytes().split(b"\0")
            except (OSError, ValueError):
                continue
            if parent == torchrun.pid and f"RANK={rank}".encode() in environment:
                return int(process.name)
        time.sleep(0.01)


def kill_rank_when(rank: int, sign, command, *args, environment) -> subprocess.CompletedProcess:
    """Run under torchrun, and kill a rank with SIGKILL as soon as `sign` is seen."""
    line = [*command, *map(str, args)]
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": environment,
    }
    with subprocess.Popen(line, **options) as torchrun:
        pid = pid_of_rank(rank, torchrun)
        while not sign():
            assert torchrun.poll() is None, torchrun.communicate()
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        out, errors = torchrun.communicate(timeout=120)
    return subprocess.CompletedProcess(line, torchrun.returncode, out, errors)


@pytest.fixture(scope="module")
def alone(environment):
    """The text that one process finds in each clip."""
    result = call(W2V2, "transcribe", *CLIPS, environment=environment)
    assert result.returncode == 0
    return dict(zip([clip.stem for clip in CLIPS], result.stdout.splitlines(), strict=True))


def test_two_ranks_print_what_one_prints_and_name_what_none_can_read(alone, environment, tmp_path):
    (tmp_path / "text.wav").write_text("this is not a recording")
    inputs = [CLIPS[2], tmp_path / "text.wav", CLIPS[0], CLIPS[1]]
    result = call(TORCHRUN, "transcribe", *inputs, environment=environment)
    texts = [alone[CLIPS[index].stem] for index in (2, 0, 1)]
    texts.insert(1, "")  # lines keep pairing with recordings
    assert result.stdout.splitlines() == texts
    assert result.returncode == 1
    assert result.stderr.count("text.wav is not audio") == 1
    assert "Error: 1 of 4 recordings could not be transcribed (see above).\n" in result.stderr
    assert not parts_left(environment)


def test_a_killed_rank_loses_no_file_and_the_next_call_does_only_the_rest(
    alone, environment, tmp_path
):
    clips = tmp_path / "clips"
    clips.mkdir()
    for copy in range(10):
        for clip in CLIPS:
            shutil.copy(clip, clips / f"{clip.stem}_{copy}.flac")
    recordings = sorted(clips.iterdir())
    theirs = [recordings[index].stem for index in split_by_length(seconds_of(recordings), 2)[1]]
    out = tmp_path / "out"

    def begun() -> bool:
        return any((out / f"{name}.txt").exists() for name in theirs)

    args = ["transcribe", clips, "--output-dir", out]
    killed = kill_rank_when(1, begun, TORCHRUN, *args, environment=environment)
    assert killed.returncode != 0 and killed.stdout == ""
    assert "recordings were not transcribed because rank" in killed.stderr
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*.txt")}
    assert 0 < len(written) < len(recordings)
    assert [
        path.name
        for path in out.iterdir()
        if path.suffix != ".txt" and not path.name.endswith(".part")
    ] == []

    again = call(TORCHRUN, *args, "--skip-existing", environment=environment)
    assert again.returncode == 0, again.stderr
    files = {path.name: path.stat().st_mtime_ns for path in out.glob("*.txt")}
    assert len(files) == len(recordings)
    assert {name: files[name] for name in written} == written  # not one of them again
    for name in files:
        assert (out / name).read_text() == alone[name.rpartition("_")[0]] + "\n"


def test_eval_of_two_ranks_survives_a_kill_and_reports_what_one_process_reports(
    environment, tmp_path
):
    one = call(W2V2, *EVAL, environment=environment)
    assert one.returncode == 0
    [expected] = json.loads(one.stdout)["results"]
    kept = tmp_path / "kept.jsonl"

    def begun() -> bool:
        return any(path.stat().st_size for path in tmp_path.glob(".kept.jsonl.parts/*-00001.jsonl"))

    killed = kill_rank_when(1, begun, TORCHRUN, *EVAL, "--output", kept, environment=environment)
    assert killed.returncode != 0 and killed.stdout == ""
    assert "utterances were not transcribed because rank" in killed.stderr
    before = [json.loads(line) for line in kept.read_text().splitlines()]
    assert 0 < len(before) < expected["utterances"]

    again = call(TORCHRUN, *EVAL, "--output", kept, "--skip-existing", environment=environment)
    assert again.returncode == 0, again.stderr
    [report] = json.loads(again.stdout)["results"]
    assert {k: v for k, v in report.items() if k not in CLOCK} == {
        k: v for k, v in expected.items() if k not in CLOCK
    }
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(rows) == expected["utterances"]
    assert [row for row in rows if row in before] == before  # to the clock: not one of them again
    assert not list(tmp_path.glob(".*")) and not parts_left(environment)

    other = call(
        W2V2,
        *EVAL,
        "--precision",
        "fp32" if precision_taken("auto", "auto") == "bf16" else "bf16",
        "--output",
        kept,
        "--skip-existing",
        environment=environment,
    )
    assert other.returncode == 1 and "holds hypotheses of other settings" in other.stderr


def test_stdin_is_refused_in_a_sentence(environment):
    ranks = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    result = call(
        W2V2, "transcribe", "-", environment=environment | ranks, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 2
    assert result.stderr.startswith("Error: - is stdin, which 2 ranks cannot share")


def test_eval_skips_only_where_there_is_a_file_to_look_in(environment):
    result = call(W2V2, *EVAL, "--skip-existing", environment=environment)
    assert result.returncode == 2 and "name a file" in result.stderr
