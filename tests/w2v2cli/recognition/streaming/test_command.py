"""`w2v2 transcribe --stream` on a pipe that a process is fed by."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import called

SHIPPED = Path(__file__).parents[4] / "w2v2cli" / "shipped"
CLIP = sorted((SHIPPED / "recordings").glob("*.flac"))[0]
COMMAND = [sys.executable, "-P", "-m", "w2v2cli", "transcribe", "--stream", "-"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
STEP = 3200  # bytes: a tenth of a second of PCM at 16 kHz


@pytest.fixture(scope="module")
def wav(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "clip.wav"
    samples, rate = soundfile.read(CLIP, dtype="int16")
    soundfile.write(path, samples, rate)
    return path


@contextmanager
def started(*options, **how) -> Iterator[subprocess.Popen]:
    """The command, with pipes on both sides, which are closed in the end."""
    pipe = subprocess.PIPE
    command = [*COMMAND, "--quiet", *options]
    live = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=ENVIRONMENT, **how)
    try:
        yield live
    finally:
        live.kill()
        live.wait()
        for end in (live.stdin, live.stdout, live.stderr):
            with suppress(BrokenPipeError):
                end.close()


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def final_text(text: str) -> str:
    return " ".join(event["text"] for event in events(text) if event["final"] and event["text"])


def test_a_pipe_fed_in_real_time_gives_what_a_fast_one_gives(wav):
    with started("--format", "jsonl", "--latency", "2") as live:
        data = wav.read_bytes()
        for at in range(0, len(data), STEP):
            live.stdin.write(data[at : at + STEP])
            live.stdin.flush()
            time.sleep(0.1)
        early = live.stdout.readline()  # the pipe is still open
        live.stdin.close()
        text = (early + live.stdout.read()).decode()
        assert live.wait(timeout=60) == 0
        assert live.stderr.read() == b""
        fast = called("transcribe", "--stream", wav, "--format", "jsonl", "--latency", "2")
        assert fast.returncode == 0
        assert final_text(text) == final_text(fast.stdout)
        assert [e for e in events(text) if e["final"]] == [
            e for e in events(fast.stdout) if e["final"]
        ]
        assert any(not event["final"] for event in events(text))


def test_ctrl_c_ends_the_sound_and_what_was_heard_is_written(wav):
    with started("--format", "jsonl", "--latency", "1", start_new_session=True) as live:
        live.stdin.write(wav.read_bytes()[: 30 * STEP])  # 3 s
        live.stdin.flush()
        early = live.stdout.readline()
        os.killpg(live.pid, signal.SIGINT)  # as a terminal sends it; the pipe stays open
        rest = live.stdout.read().decode()
        assert live.wait(timeout=60) == 130
        assert live.stderr.read() == b""
        found = events(early.decode() + rest)
        assert found[-1]["final"] and found[-1]["sentence_ends"]
        assert len(final_text(early.decode() + rest).split()) > 2


def test_it_ends_silently_when_nobody_reads(wav):
    with started("--format", "jsonl", "--latency", "1") as live:
        live.stdin.write(wav.read_bytes()[: 20 * STEP])
        live.stdin.flush()
        live.stdout.readline()
        live.stdout.close()
        with suppress(BrokenPipeError):  # it may have ended already
            live.stdin.write(wav.read_bytes()[20 * STEP :])
            live.stdin.close()
        assert live.wait(timeout=60) == 141
        assert live.stderr.read() == b""


def test_words_are_those_of_the_recording_where_it_is_heard_whole(wav, tmp_path):
    """With a latency this long the one window is the recording, and the search gives up nothing."""
    for options in ([], ["--lm", "4gram", "--beam", "50"]):
        whole = called("transcribe", wav, *options)
        live = called("transcribe", "--stream", wav, "--latency", "60", *options)
        assert live.returncode == whole.returncode == 0
        assert live.stdout == whole.stdout != "\n"


def test_final_words_are_never_taken_back(wav):
    result = called(
        "transcribe", "--stream", wav, *"--lm 4gram --beam 50 --latency 1.5 --format jsonl".split()
    )
    assert result.returncode == 0
    end = 0.0
    for event in events(result.stdout):
        for word in event["words"]:
            assert word["start"] >= end - 1e-9  # what may change lies behind what is final
            end = word["end"] if event["final"] else end
    lines = called("transcribe", "--stream", wav, *"--lm 4gram --beam 50 --latency 1.5".split())
    assert lines.stdout.replace("\n", " ").split() == final_text(result.stdout).split()


def test_bare_samples_are_those_of_the_file(wav, tmp_path):
    samples, _ = soundfile.read(wav, dtype="int16")
    (tmp_path / "bare.pcm").write_bytes(samples.astype("<i2").tobytes())
    bare = called("transcribe", "--stream", tmp_path / "bare.pcm", "--pcm", 16000)
    assert bare.stdout == called("transcribe", "--stream", wav).stdout != ""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--stream a.wav b.wav", "--stream takes one input: -, a pipe or a file."),
        ("--stream - --format srt", "--stream writes txt or jsonl, not srt."),
        ("--stream - --output-dir out", "--stream writes on stdout: leave out --output-dir"),
        ("--stream - --pcm 12", "--pcm must be 1000 to 768000 samples a second, got 12."),
        ("--stream - --latency 0.1", "--latency must be at least 0.3 seconds, got 0.1."),
        ("--stream - --latency nan", "--latency must be at least 0.3 seconds, got nan."),
        ("--stream - --lm transformer", "not with --search batched: leave out --lm"),
        ("--stream - --lm 4gram --nbest 3", "one reading of each word: leave out --nbest."),
        ("a.wav --pcm 8000", "--pcm goes with --stream."),
        ("a.wav --latency 1", "--latency goes with --stream."),
        ("--stream missing.wav", "missing.wav cannot be opened: No such file or directory."),
    ],
)
def test_a_wrong_call_is_one_sentence(line, sentence):
    result = called("transcribe", *line.split())
    assert result.returncode in (1, 2)
    assert sentence in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_silence_gives_no_line(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000, np.float32), 16_000)
    result = called("transcribe", "--stream", tmp_path / "silence.wav")
    assert (result.returncode, result.stdout) == (0, "")


def test_options_that_change_nothing_in_a_stream_are_told(wav):
    plain = called("transcribe", "--stream", wav, "--lm", "4gram", "--beam", "50")
    idle = "--skip-blank 0.5 --mbr --names"
    told = called("transcribe", "--stream", wav, *f"--lm 4gram --beam 50 {idle}".split())
    assert (told.returncode, told.stdout) == (0, plain.stdout)
    assert (
        " ".join(told.stderr.split())
        == (
            f"{' '.join(plain.stderr.split())} "
            "Note: --skip-blank has no effect: a stream is searched frame by frame. "
            "Note: --mbr has no effect: of a stream no lattice is kept. "
            "Note: --names has no effect: a stream is one recording."
        ).strip()
    )
