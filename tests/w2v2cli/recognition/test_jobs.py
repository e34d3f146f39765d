"""Transcribing and evaluating as functions, without a command around them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import read_audio
from w2v2cli.data.corpora.catalogue import find_splits
from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UsageError
from w2v2cli.recognition import evaluating
from w2v2cli.recognition.evaluating import evaluate_corpora
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.transcribing import transcribe_recordings
from w2v2cli.recognition.writing.formats import Layout, Writing

CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))


@pytest.fixture(scope="module")
def settings():
    return resolve(DecodingOptions(device="cpu"))


def test_transcripts_go_to_the_stream_in_order_and_failures_are_counted(settings, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"")
    written, counted = [], []
    inputs = [str(CLIPS[1]), str(tmp_path / "no.wav"), str(CLIPS[0])]
    done = transcribe_recordings(
        settings,
        inputs,
        Writing(("jsonl",)),
        write=written.append,
        on_progress=counted.append,
    )
    assert done.total == 3 and done.missing == []
    assert done.failed == [f"{tmp_path / 'no.wav'} is an empty file."]
    rows = [json.loads(line) for line in written]
    assert [row["recording"] for row in rows] == inputs
    assert rows[1] == {"recording": inputs[1], "error": f"{inputs[1]} is an empty file."}
    done_so_far = [heard.recordings for heard in counted]  # told while one is heard, too
    assert [*dict.fromkeys(done_so_far)][-3:] == [1, 2, 3] == sorted(set(done_so_far) - {0})
    assert (counted[-1].recordings, counted[-1].of) == (3, 3)
    seconds = soundfile.info(CLIPS[0]).duration + soundfile.info(CLIPS[1]).duration
    assert counted[-1].seconds == pytest.approx(seconds, abs=0.05)


def test_an_output_folder_gets_a_file_each_and_existing_ones_are_skipped(settings, tmp_path):
    how = Writing(("srt",), Layout("word"), tmp_path / "out", skip_existing=True)
    inputs = [str(path) for path in CLIPS[:2]]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{CLIPS[0].stem}.srt").write_text("mine\n")
    written = []
    done = transcribe_recordings(settings, inputs, how, write=written.append)
    assert (done.total, done.failed, written) == (1, [], [])
    assert (tmp_path / "out" / f"{CLIPS[0].stem}.srt").read_text() == "mine\n"
    assert "-->" in (tmp_path / "out" / f"{CLIPS[1].stem}.srt").read_text()


def test_several_formats_are_made_in_one_go_and_all_of_them_make_a_recording_done(
    settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    how = Writing(("srt", "json", "manifest"), output_dir=out, skip_existing=True)
    inputs = [str(CLIPS[0])]
    assert transcribe_recordings(settings, inputs, how, write=print).total == 1
    stem = CLIPS[0].stem
    assert {path.name for path in out.iterdir()} == {
        f"{stem}.srt",
        f"{stem}.json",
        f"{stem}.manifest",
    }
    said = json.loads((out / f"{stem}.json").read_text())["text"]
    [row] = map(json.loads, (out / f"{stem}.manifest").read_text().splitlines())
    assert (row["text"], row["audio_filepath"]) == (said, str(CLIPS[0]))
    assert transcribe_recordings(settings, inputs, how, write=print).total == 0
    (out / f"{stem}.json").unlink()
    assert transcribe_recordings(settings, inputs, how, write=print).total == 1
    assert (out / f"{stem}.json").exists()


def test_each_channel_is_heard_apart_and_has_a_file_of_its_own(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    seconds = min(len(read_audio(clip)) for clip in CLIPS[1:3])
    sides = [read_audio(clip)[:seconds] for clip in CLIPS[1:3]]
    call, alone = tmp_path / "call.wav", [tmp_path / "left.wav", tmp_path / "right.wav"]
    soundfile.write(call, np.stack(sides, 1), 16_000)
    for path, samples in zip(alone, sides, strict=True):
        soundfile.write(path, samples, 16_000)

    def heard(*inputs, **how):
        written, names = [], [str(path) for path in inputs]
        done = transcribe_recordings(settings, names, Writing(**how), write=written.append)
        return done, written

    left, right = heard(*alone)[1]
    assert left != right and heard(call, channel="split")[1] == [left, right]
    assert heard(call, channel=2)[1] == [right]
    assert heard(call, channel=3)[0].failed == [f"{call} has 2 channels: there is no channel 3."]
    how = {"channel": "split", "output_dir": tmp_path / "out", "skip_existing": True}
    assert heard(call, **how)[0].total == 2
    assert {path.name for path in how["output_dir"].iterdir()} == {
        "call.channel1.txt",
        "call.channel2.txt",
    }
    assert heard(call, **how)[0].total == 0
    assert heard(call, **how | {"channel": None})[0].total == 1


def test_segments_that_are_not_sure_are_counted_and_left_out(settings):
    written = []
    how = Writing(("manifest",), Layout(min_confidence=1.0))
    done = transcribe_recordings(settings, [str(CLIPS[0])], how, write=written.append)
    assert (done.left_out, "".join(written)) == (1, "")


def test_a_recording_of_the_same_name_is_transcribed_too(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    how = Writing(("jsonl",), output_dir=tmp_path / "out", skip_existing=True)
    for folder, clip in zip("xy", CLIPS, strict=False):
        (tmp_path / folder).mkdir()
        shutil.copy(clip, tmp_path / folder / "a.flac")
    calls = ["x"], ["y"], ["y", "x"]
    done = [
        transcribe_recordings(
            settings, [str(tmp_path / folder) for folder in folders], how, write=print
        )
        for folders in calls
    ]
    assert [call.total for call in done] == [1, 1, 0]
    found = {
        json.loads(path.read_text())["recording"] for path in (tmp_path / "out").rglob("*.jsonl")
    }
    assert found == {str(tmp_path / folder / "a.flac") for folder in "xy"}


def test_stdin_cannot_be_shared_among_ranks(settings, monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="- is stdin, which 2 ranks cannot share"):
        transcribe_recordings(settings, ["-"], Writing(), write=print)


def test_an_evaluation_goes_on_from_the_rows_it_has(settings, tmp_path):
    corpus, output = tmp_path / "corpus", tmp_path / "rows.jsonl"
    shutil.copytree(SHIPPED / "corpus" / "dev-other", corpus)
    splits = find_splits(None, corpus)
    total = len(splits[0].utterances)
    first = evaluate_corpora(settings, splits, output=output)
    lines = output.read_text().splitlines()
    assert len(lines) == total and first.shortfall is None
    output.write_text("".join(f"{line}\n" for line in lines[:-2]))
    counted = []
    again = evaluate_corpora(
        settings,
        splits,
        output=output,
        skip_existing=True,
        on_progress=counted.append,
    )
    assert [heard.recordings for heard in counted][-2:] == [1, 2]
    assert {heard.of for heard in counted} == {2}
    assert again.evaluations[0].words == first.evaluations[0].words
    assert len(output.read_text().splitlines()) == total


def test_an_evaluation_that_goes_on_has_the_lengths_of_one_that_was_not_stopped(settings, tmp_path):
    """They were differences of a sum that began again: 0.8541249999999998 or 0.8541250000000002."""
    draw, lengths = np.random.default_rng(0), {}
    (tmp_path / "corpus").mkdir()
    for name in "abcdef":
        samples = 0.1 * draw.standard_normal(draw.integers(4000, 8000))
        soundfile.write(tmp_path / "corpus" / f"{name}.wav", samples, 16_000)
        (tmp_path / "corpus" / f"{name}.txt").write_text("THE CAT")
        lengths[name] = len(samples) / 16_000
    (splits, output), found = (find_splits(None, tmp_path / "corpus"), tmp_path / "rows"), []
    for kept in (0, 1):
        if kept:
            output.write_text("".join(output.read_text().splitlines(keepends=True)[:kept]))
        greedy = replace(settings, search="greedy")
        evaluate_corpora(greedy, splits, output=output, skip_existing=True)
        found.append([json.loads(line) for line in output.read_text().splitlines()])
        assert {row["id"]: row["audio_seconds"] for row in found[-1]} == lengths
    for row in (*found[0], *found[1]):
        del row["wall_seconds"]
    assert found[0] == found[1]


@pytest.mark.parametrize("search", ["compiled", "batched", "flashlight"])
def test_an_evaluation_tells_of_reference_words_that_are_not_searched(settings, tmp_path, search):
    if search == "flashlight":
        pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    (tmp_path / "corpus").mkdir()
    shutil.copy(CLIPS[0], tmp_path / "corpus" / "a.flac")
    (tmp_path / "corpus" / "a.txt").write_text("The cat and the zyxt, the Zyxt quux, and hottt.")
    (tmp_path / "lexicon.txt").write_text("THE\tT H E |\nand\tA N D |\n")
    lm = replace(settings.lm, path=None, lexicon=tmp_path / "lexicon.txt")
    asked = replace(settings, lm=lm, search=search, hotwords={"HOTTT": 1.0})
    corpora, notes = find_splits(None, tmp_path / "corpus"), []
    evaluate_corpora(asked, corpora, note=notes.append)
    assert notes == [
        f"{tmp_path / 'corpus'}: 4 of 10 reference words (40.0%) are not in the lexicon, "
        "ZYXT, CAT, QUUX for example, and cannot be found."
    ]
    notes.clear()
    evaluate_corpora(replace(asked, hotwords={}, search="greedy"), corpora, note=notes.append)
    assert notes == []


def test_an_evaluation_warns_of_references_that_cannot_be_written(settings, tmp_path, monkeypatch):
    shutil.copy(CLIPS[0], tmp_path / "a.flac")
    (tmp_path / "a.txt").write_text("AND")
    monkeypatch.setattr(
        evaluating, "unwritable", lambda part, vocabulary, normalizer: f"{part.name} {normalizer}"
    )
    warnings = []
    evaluate_corpora(
        settings, find_splits(None, tmp_path), normalizer="basic", warn=warnings.append
    )
    assert warnings == [f"{tmp_path} basic"]
