"""`w2v2 transcribe` and `w2v2 eval` as a shell runs them, on the model that ships."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
from calls import called
from slf_reader import path_score, read_slf

from lm.text.normalization import normalize_text
from w2v2cli.commands.transcribe_options import DEMO

SHIPPED = Path(__file__).parents[2] / "w2v2cli" / "shipped"
CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))
COMMAND = [sys.executable, "-m", "w2v2cli"]


def w2v2(*args, **options) -> subprocess.CompletedProcess:
    """Call `w2v2`: in this process, or in its own where that has options."""
    if not options:
        return called(*args)
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=300, **options
    )


def said(clip: Path) -> str:
    with (SHIPPED / "recordings" / "transcripts.tsv").open() as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return next(normalize_text(row["text"]) for row in rows if row["id"] == clip.stem)


def test_the_cards_first_line(tmp_path):
    """The model that ships is small: two words of thirteen are wrong in this recording."""
    shutil.copy(CLIPS[1], tmp_path / "audio.flac")
    root = str(Path(__file__).parents[2])
    result = w2v2(
        *"transcribe audio.flac --lm 4gram --beam 1500".split(),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert result.returncode == 0 and result.stderr == f"{DEMO}\n"
    assert result.stdout.count("\n") == 1
    assert jiwer.wer(said(CLIPS[1]), result.stdout.strip()) <= 0.25


def test_the_cards_third_line(tmp_path):
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "W2V2_HOME": str(tmp_path)}
    line = "eval --split test-other --json --beam 50 --output rows.jsonl"
    result = w2v2(*line.split(), cwd=tmp_path, env=env)
    assert result.returncode == 0
    [report] = json.loads(result.stdout)["results"]
    assert report["data"] == "test-other" and "not LibriSpeech" in report["note"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    pairs = [(row["reference"], row["hypothesis"]) for row in rows]
    assert report["wer"] == pytest.approx(jiwer.wer(*map(list, zip(*pairs, strict=True))))
    # The bootstrap's interval comes near that of a ratio of sums by the delta method.
    words = np.array([len(reference.split()) for reference, _ in pairs])
    errors = np.array([jiwer.wer(*pair) for pair in pairs]) * words
    deviation = np.sqrt(((errors - report["wer"] * words) ** 2).sum()) / words.sum()
    low, high = report["wer_interval_95"]
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.3)
    assert (low + high) / 2 == pytest.approx(report["wer"], abs=deviation)


def test_the_4gram_helps_on_the_readers_own_held_out_recordings(tmp_path):
    rates = {}
    for lm in ("none", "4gram"):
        corpus = ("--data", SHIPPED / "corpus", "--split", "test-clean")
        result = w2v2("eval", *corpus, "--lm", lm, "--beam", 100, "--json")
        rates[lm] = json.loads(result.stdout)["results"][0]["wer"]
    assert rates["4gram"] < 0.9 * rates["none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good recordings, and one of every kind of bad ones."""
    folder = tmp_path_factory.mktemp("recordings")
    for clip in CLIPS[:2]:
        shutil.copy(clip, folder)
    (folder / "text.wav").write_text("this is no recording")
    (folder / "empty.flac").touch()
    return folder


def test_one_bad_file_among_many(folder):
    result = w2v2("transcribe", folder)
    assert result.returncode == 1
    lines = result.stdout.split("\n")
    assert [bool(line) for line in lines] == [True, True, False, False, False]  # in order of names
    assert (
        "empty.flac is an empty file" in result.stderr and "text.wav is not audio" in result.stderr
    )
    assert result.stderr.endswith(
        "Error: 2 of 4 recordings could not be transcribed (see above).\n"
    )


def test_a_recording_cut_short_is_heard_as_far_as_it_goes_and_told(tmp_path):
    samples, rate = soundfile.read(CLIPS[1])
    soundfile.write(tmp_path / "whole.wav", samples, rate)
    soundfile.write(tmp_path / "part.wav", samples[: len(samples) // 2], rate)
    data = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: (tmp_path / "part.wav").stat().st_size])
    part, cut = (w2v2("transcribe", tmp_path / name) for name in ("part.wav", "cut.wav"))
    assert (cut.returncode, cut.stdout) == (0, part.stdout) and part.stdout.strip()
    seconds = len(samples) / rate
    assert cut.stderr.removeprefix(f"{DEMO}\n") == (
        f"Warning: {tmp_path}/cut.wav is cut short: it holds {seconds / 2:.1f} s of "
        f"{seconds:.1f} s that its header promises. The transcript ends there.\n"
    )
    found = json.loads(w2v2("transcribe", tmp_path / "cut.wav", "--format", "json").stdout)
    assert found["cut_short"].endswith("that its header promises.")
    assert json.loads(w2v2("transcribe", tmp_path / "part.wav", "--format", "json").stdout)[
        "cut_short"
    ] is None  # fmt: skip
    # The reference is of the whole.
    (tmp_path / "transcripts.tsv").write_text(
        f"id\tseconds\ttext\ncut\t{seconds}\t{said(CLIPS[1])}\n"
    )
    for name in ("whole.wav", "part.wav"):
        (tmp_path / name).unlink()
    result = w2v2("eval", "--data", tmp_path)
    assert result.returncode == 1 and "is cut short" in result.stderr


def test_files_for_each_recording_and_only_the_missing_ones_again(folder, tmp_path):
    out = tmp_path / "out"
    assert w2v2("transcribe", *CLIPS[:2], "--format", "srt", "--output-dir", out).returncode == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"{clip.stem}.srt" for clip in CLIPS[:2]]
    (out / names[0]).write_text("kept")
    (out / names[1]).unlink()
    again = w2v2(
        "transcribe", *CLIPS[:2], "--format", "srt", "--output-dir", out, "--skip-existing"
    )
    assert again.returncode == 0 and again.stdout == ""
    assert (out / names[0]).read_text() == "kept" and "-->" in (out / names[1]).read_text()


def test_the_best_path_of_a_lattice_is_the_transcript(tmp_path):
    text = w2v2("transcribe", CLIPS[0], "--lm", "4gram").stdout
    done = w2v2(
        "transcribe", CLIPS[0], "--lm", "4gram", "--format", "lattice", "--output-dir", tmp_path
    )
    assert done.returncode == 0, done.stderr
    header, nodes, arcs = read_slf((tmp_path / f"{CLIPS[0].stem}.lattice").read_text())
    best = {0: (0.0, "")}
    for i, arc in enumerate(arcs):
        score, words = best[int(arc["S"])]
        score += path_score(header, arcs, [i])
        if int(arc["E"]) not in best or score > best[int(arc["E"])][0]:
            best[int(arc["E"])] = score, words + f" {arc['W']}" * (arc["W"] != "!NULL")
    assert best[len(nodes) - 1][1].strip() == text.strip()
    assert sum(float(a["p"]) for a in arcs if a["E"] == header["end"]) == pytest.approx(1, abs=1e-3)
    refused = w2v2("transcribe", CLIPS[0], "--format", "lattice")
    assert refused.returncode == 2
    assert "--format lattice needs --search compiled" in refused.stderr


def test_a_pattern_that_nothing_fits_is_called_one(tmp_path):
    result = w2v2("transcribe", str(tmp_path / "*.flac"))
    assert result.returncode == 1
    assert f"\nNothing fits the pattern {tmp_path}/*.flac.\n" in result.stderr


def test_stdin_and_a_reader_that_goes_away():
    with CLIPS[0].open("rb") as file:
        piped = subprocess.run(
            [*COMMAND, "transcribe", "-"], stdin=file, capture_output=True, text=True, timeout=120
        )
    assert piped.returncode == 0 and piped.stdout == w2v2("transcribe", CLIPS[0]).stdout
    script = f"{sys.executable} -m w2v2cli transcribe -q {CLIPS[0]} {CLIPS[1]} | true"
    closed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert closed.stderr == ""


def test_long_recordings_lose_and_double_nothing(tmp_path):
    """Ten times the same clips in one file give ten times the letters, except at cuts in a word."""
    pieces = [np.concatenate([soundfile.read(clip)[0], np.zeros(8000)]) for clip in CLIPS]
    soundfile.write(tmp_path / "long.flac", np.concatenate(pieces * 10), 16_000)
    soundfile.write(tmp_path / "once.flac", np.concatenate(pieces), 16_000)
    result = w2v2("transcribe", tmp_path / "long.flac", tmp_path / "once.flac", "--format", "jsonl")
    long, once = (json.loads(line) for line in result.stdout.splitlines())
    assert len(long["segments"]) > 3
    letters = len(long["text"].replace(" ", ""))
    assert letters == pytest.approx(10 * len(once["text"].replace(" ", "")), rel=0.03)
    starts = [word["start"] for segment in long["segments"] for word in segment["words"]]
    assert starts == sorted(starts)


def test_silence_and_ten_milliseconds(tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(160), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
    result = w2v2("transcribe", tmp_path / "short.wav", tmp_path / "silent.wav")
    assert (
        result.returncode == 0 and result.stdout.count("\n") == 2 and result.stdout.startswith("\n")
    )


def running(group: int) -> list[str]:
    """Processes of a group that have not ended; a zombie that waits for init has."""
    lines = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat=,pid="], capture_output=True, text=True
    ).stdout.splitlines()
    return [
        line
        for line in lines
        if line.split()[0] == str(group) and not line.split()[1].startswith("Z")
    ]


def test_ctrl_c_ends_everything_within_two_seconds(tmp_path):
    pieces = [soundfile.read(clip)[0] for clip in CLIPS] * 40
    soundfile.write(tmp_path / "long.flac", np.concatenate(pieces), 16_000)
    process = subprocess.Popen(
        [*COMMAND, "transcribe", str(tmp_path / "long.flac"), "--lm", "4gram"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(8)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == 130 and "Traceback" not in errors
    while running(process.pid):
        assert time.monotonic() - began < 2


def test_model_info_and_conversion(tmp_path):
    facts = json.loads(w2v2("model", "info", "demo", "--json").stdout)
    assert facts["parameters"] > 1e6 and "licence" in facts
    assert w2v2("model", "convert", "demo", tmp_path / "hf", "--to", "huggingface").returncode == 0
    back = tmp_path / "back.safetensors"
    assert w2v2("model", "convert", tmp_path / "hf", back, "--half").returncode == 0
    # The weights that ship are in half precision, so nothing is lost on the way.
    ours = w2v2("transcribe", CLIPS[0]).stdout
    assert w2v2("transcribe", CLIPS[0], "--model", back).stdout == ours


def test_building_a_language_model_and_using_it(tmp_path):
    (tmp_path / "a.txt").write_text(
        "The cat sat. The cat ran! A dog sat on the mat. The dog ran. " * 3
    )
    sizes = ("--order", 3, "--prune", 0, 0, 1)
    result = w2v2("lm", "build", *sizes, tmp_path / "a.txt", "-o", tmp_path / "a.arpa.gz")
    assert result.returncode == 0 and "fallback" in result.stderr
    info = w2v2("lm", "info", tmp_path / "a.arpa.gz").stdout
    assert "3-grams:" in info and "have a probability" in info
    heard = w2v2("transcribe", CLIPS[0], "--lm", tmp_path / "a.arpa.gz").stdout.split()
    assert set(heard) <= {"THE", "CAT", "SAT", "RAN", "A", "DOG", "ON", "MAT"}


def test_doctor():
    result = w2v2("doctor", "--json")
    assert result.returncode == 0
    assert {"python", "torch", "cpu", "W2V2_HOME"} <= {
        finding["what"] for finding in json.loads(result.stdout)
    }


def test_cuts_of_a_manifest_are_evaluated_and_not_the_whole_file(tmp_path):
    first, second = (soundfile.read(clip, dtype="int16")[0] for clip in CLIPS[:2])
    soundfile.write(tmp_path / "both.flac", np.concatenate([first, second]), 16_000)
    for name, samples in (("one", first), ("two", second)):
        soundfile.write(tmp_path / f"{name}.flac", samples, 16_000)
    cuts = [("one", "both.flac", 0, len(first)), ("two", "both.flac", len(first), len(second))]
    whole = [("one", "one.flac", 0, len(first)), ("two", "two.flac", 0, len(second))]
    heard = []
    for number, rows in enumerate((cuts, whole)):
        manifest = tmp_path / f"{number}.jsonl"
        lines = (
            {
                "id": name,
                "audio_filepath": str(tmp_path / file),
                "text": "a word",
                "start": start,
                "samples": samples,
            }
            for name, file, start, samples in rows
        )
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        output = tmp_path / f"{number}.out"
        result = w2v2("eval", "--data", manifest, "--lm", "none", "--output", output, "--worst", 0)
        assert result.returncode == 0, result.stderr
        heard.append([json.loads(line)["hypothesis"] for line in output.read_text().splitlines()])
    assert heard[0] == heard[1] and heard[0][0] != heard[0][1]
