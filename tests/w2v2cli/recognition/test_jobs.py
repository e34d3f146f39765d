"""Transcribing and evaluating as functions, without a command around them."""

import json
import shutil
from dataclasses import replace

import pytest
import soundfile

from w2v2cli.data.corpora.catalogue import find_splits
from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UsageError
from w2v2cli.recognition import evaluating
from w2v2cli.recognition.evaluating import evaluate_corpora
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.transcribing import Writing, transcribe_recordings

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
        Writing(form="jsonl"),
        write=written.append,
        on_progress=counted.append,
    )
    assert done.total == 3 and done.missing == []
    assert done.failed == [f"{tmp_path / 'no.wav'} is an empty file."]
    rows = [json.loads(line) for line in written]
    assert [row["recording"] for row in rows] == inputs
    assert rows[1] == {"recording": inputs[1], "error": f"{inputs[1]} is an empty file."}
    assert [heard.recordings for heard in counted][-3:] == [1, 2, 3]
    assert (counted[-1].recordings, counted[-1].of) == (3, 3)
    seconds = soundfile.info(CLIPS[0]).duration + soundfile.info(CLIPS[1]).duration
    assert counted[-1].seconds == pytest.approx(seconds, abs=0.05)


def test_an_output_folder_gets_a_file_each_and_existing_ones_are_skipped(settings, tmp_path):
    how = Writing("srt", "word", tmp_path / "out", skip_existing=True)
    inputs = [str(path) for path in CLIPS[:2]]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{CLIPS[0].stem}.srt").write_text("mine\n")
    written = []
    done = transcribe_recordings(settings, inputs, how, write=written.append)
    assert (done.total, done.failed, written) == (1, [], [])
    assert (tmp_path / "out" / f"{CLIPS[0].stem}.srt").read_text() == "mine\n"
    assert "-->" in (tmp_path / "out" / f"{CLIPS[1].stem}.srt").read_text()


def test_a_recording_of_the_same_name_is_transcribed_too(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    how = Writing("jsonl", output_dir=tmp_path / "out", skip_existing=True)
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
