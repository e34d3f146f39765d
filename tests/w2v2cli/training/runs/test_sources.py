"""What a run trains on and what it holds out, told in lines."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.config import tiny
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.dataset import labelled
from w2v2cli.data.recordings import FileRecordings
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING, PRETRAINING
from w2v2cli.training.runs.finetune import finetune, finetuning_dry_run, longest
from w2v2cli.training.runs.pretrain import pretrain, pretraining_dry_run
from w2v2cli.training.runs.sources import labelled_recordings, unlabelled_recordings
from w2v2cli.training.stream import reading_of


def recording(path, seconds=0.5, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16_000))
    soundfile.write(path, noise, 16_000)


@pytest.fixture
def speakers(tmp_path):
    """A manifest of twenty speakers with three recordings each, named alike in each folder."""
    rows = []
    for speaker in range(20):
        for number in range(3):
            name = f"corpus/{speaker}/{number}.wav"
            recording(tmp_path / name, seed=3 * speaker + number)
            rows.append({"audio": name, "text": "YES", "speaker": f"s{speaker}"})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "m.jsonl"


def test_speakers_are_held_out_and_told(speakers):
    notes = []
    train, valid = labelled_recordings([str(speakers)], None, None, None, note=notes.append)
    assert not set(train.speakers) & set(valid.speakers)
    assert len(train.ids) + len(valid.ids) == 60 and len(valid.ids) == 6
    assert notes == [
        "Held out for validation: 2 of 20 speakers, 0.00 h, 6 utterances; "
        "--valid CORPUS names others."
    ]
    again, _ = labelled_recordings([f"{speakers}@3"], None, None, None)
    assert set(again.ids) == set(train.ids) and len(again.ids) == 3 * len(train.ids)


def test_pretraining_holds_out_whole_speakers_and_tells_it(speakers):
    notes = []
    train, held_out, _ = unlabelled_recordings(
        [f"{speakers}@3"], None, None, None, 0.1, note=notes.append
    )
    train_speakers, own = (
        {part.source.speakers[i] for i in part.kept} for part in (train, held_out)
    )
    assert len(own) == 2 and len(train_speakers) == 18 and not own & train_speakers
    assert (len(train), len(held_out)) == (3 * 54, 6)
    assert notes == [
        "Held out for validation: 2 of 20 speakers, 0.00 h, 6 utterances; "
        "--valid CORPUS names others."
    ]


def test_pretraining_holds_out_a_recording_however_often_it_is_read(tmp_path):
    for number in range(30):
        recording(tmp_path / f"{number}.wav", seed=number)
    notes = []
    train, held_out, _ = unlabelled_recordings(
        [f"{tmp_path}@3"], None, None, None, 0.1, note=notes.append
    )
    ids = [{part.source.ids[i] for i in part.kept} for part in (train, held_out)]
    assert len(ids[1]) == len(held_out) == 8 and not ids[0] & ids[1]
    assert len(train) == 3 * 22
    assert "by chance, since not every speaker is known" in notes[0]


def test_a_corpus_too_short_to_validate_on_is_refused_before_the_run(tmp_path):
    """The first validation divided by no masked steps."""
    recording(tmp_path / "train" / "a.wav", 3.0)
    recording(tmp_path / "valid" / "b.wav", 1.0, seed=1)
    names = [str(tmp_path / "train")], None, str(tmp_path / "valid"), None
    with pytest.raises(UserError, match="left to validate on: all of .* shorter than 2 s"):
        unlabelled_recordings(*names, 2.0)


def test_a_dry_run_tells_what_is_held_out(speakers):
    for plan, settings in (
        (pretraining_dry_run, {"model": "tiny", "shortest_seconds": 0.1}),
        (finetuning_dry_run, {}),
    ):
        notes = []
        start = {} if settings else {"model": "tiny-config"}
        found = plan([str(speakers)], settings=settings, note=notes.append, **start)
        assert dict(found.rows)["validation"] == "6 utterances, 0.00 h"
        assert [note for note in notes if "2 of 20 speakers" in note]


def test_utterances_are_held_out_where_speakers_are_unknown(tmp_path):
    for number in range(30):
        recording(tmp_path / f"{number}.wav")
        (tmp_path / f"{number}.txt").write_text("YES")
    notes = []
    train, valid = labelled_recordings([str(tmp_path)], None, None, None, note=notes.append)
    assert len(train.ids) + len(valid.ids) == 30 and len(valid.ids)
    assert "by their ids, since not every speaker is known" in notes[0]


def test_valid_leaves_out_the_same_recordings_and_no_other_speakers(tmp_path):
    """Two folders in which each speaker numbers the recordings from one, as prompts are read."""
    for folder, seconds in (("train", 0.5), ("dev", 0.6)):
        for number in range(3):
            recording(tmp_path / folder / f"{number}.wav", seconds)
            (tmp_path / folder / f"{number}.txt").write_text("YES")
    notes = []
    names = [str(tmp_path / "train")]
    train, _ = labelled_recordings(names, None, str(tmp_path / "dev"), None, note=notes.append)
    assert len(train.ids) == 3
    assert notes == [
        f"3 utterances have the id of one in {tmp_path / 'dev'}, but another text or length: they "
        "are trained on."
    ]
    train, valid = labelled_recordings([str(tmp_path)], None, str(tmp_path / "dev"), None)
    assert [path.parent.name for path in paths(train)] == ["train"] * 3 and len(valid.ids) == 3


def paths(selected):
    return [Path(selected._source.paths[int(i)]) for i in selected._indices]


def test_a_copy_of_what_is_validated_on_is_left_out(tmp_path):
    for folder in ("here", "there"):
        for number in range(3):
            recording(tmp_path / folder / f"{number}.wav", 0.5 + number / 10)
            (tmp_path / folder / f"{number}.txt").write_text("YES")
    train, _ = labelled_recordings([str(tmp_path / "here")], None, str(tmp_path / "there"), None)
    assert list(train.ids) == []


def test_cuts_of_one_file_are_told_apart(tmp_path):
    recording(tmp_path / "a.wav", 4)
    rows = [
        {"audio": "a.wav", "text": "YES", "start": at * 16000, "samples": 16000} for at in (0, 1, 2)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "dev.jsonl").write_text(
        json.dumps({"audio": "a.wav", "id": "x", "text": "YES", "start": 20000, "samples": 12000})
    )
    dev = str(tmp_path / "dev.jsonl")
    train, _ = labelled_recordings([str(tmp_path / "train.jsonl")], None, dev, None)
    assert len(train.ids) == 2


def test_finetuning_leaves_out_by_name_what_is_longer_than_a_batch(tmp_path):
    for name, seconds in (("short", 1), ("long", 3)):
        recording(tmp_path / f"{name}.wav", seconds)
    source = FileRecordings([Utterance(n, tmp_path / f"{n}.wav", "A") for n in ("short", "long")])
    config = changed(FINETUNING["demo"](), {"batch_seconds": 2.0, "speeds": "0.9,1,1.1"})
    assert longest(config) == int(32000 * 0.9)
    found, left_out = labelled(source, lambda text: (5,), tiny(), 1.1, longest(config))
    assert [source.ids[int(i)] for i in found.kept] == ["short"]
    assert [(each.id, each.reason) for each in left_out] == [
        ("long", "its 3.0 s are more than 1.8")
    ]
    plan = reading_of(config).epoch(found, 0).plan
    assert max(len(batch.indices) * max(batch.samples) for batch in plan) <= 32000


def test_a_run_names_what_is_too_long_and_says_what_helps(tmp_path):
    for number in range(4):
        recording(tmp_path / "train" / f"{number}.wav", 1 + number % 3)
        recording(tmp_path / "dev" / f"{number}.wav", 0.5)
        for folder in ("train", "dev"):
            (tmp_path / folder / f"{number}.txt").write_text("YES")
    notes = []
    settings = {"schedule.updates": 1, "batch_seconds": 2.0, "precision": "fp32", "speeds": "1"}
    finetune(
        tmp_path / "train",
        valid=tmp_path / "dev",
        output=tmp_path / "run",
        model="tiny-config",
        settings=settings,
        note=notes.append,
    )
    assert "Left out: 2: its 3.0 s are more than 2." in notes
    assert (
        "1 recording is longer than a batch, the longest 3.0 s: --batch-seconds 3 takes all, or "
        "cut them (`start` and `samples` of a manifest)."
    ) in notes
    notes.clear()
    finetune(
        tmp_path / "train",
        valid=tmp_path / "dev",
        output=tmp_path / "more",
        model="tiny-config",
        settings=settings | {"batch_seconds": 3.4, "speeds": "0.9,1"},
        note=notes.append,
    )
    assert not any("longer than a batch" in note for note in notes)


def test_pretraining_cuts_to_a_batch_and_tells_it(tmp_path):
    config = changed(PRETRAINING["small"](), {"batch_seconds": 2.0})
    assert config.crop_seconds > 2 and reading_of(config).crop == 32000
    for number in range(12):
        recording(tmp_path / "c" / f"{number}.wav", 2 + number % 2)
    notes = []
    settings = {
        "model": "tiny",
        "schedule.updates": 1,
        "batch_seconds": 2.0,
        "precision": "fp32",
    }
    pretrain(
        tmp_path / "c",
        output=tmp_path / "run",
        recipe="small",
        settings=settings,
        note=notes.append,
    )
    [line] = [note for note in notes if "cut at random" in note]
    assert "cut at random to 2 s, the --batch-seconds; crop_seconds would take 6 s" in line


def test_nothing_is_told_of_nothing_held_out(tmp_path):
    for name in ("u0", "u1"):
        assert split_of(name) == "train"
        recording(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text("YES")
    notes = []
    train, valid = labelled_recordings([str(tmp_path)], None, None, None, note=notes.append)
    assert len(train.ids) == 2 and len(valid.ids) == 0 and notes == []


def test_a_dry_run_of_transcripts_that_find_no_room_says_why(tmp_path):
    """It divided by no micro-batches."""
    for name, text in (("long", "abc " * 50), ("held", "a")):
        recording(tmp_path / f"{name}.wav")
        line = {"audio_filepath": str(tmp_path / f"{name}.wav"), "text": text}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    names = str(tmp_path / "long.jsonl"), str(tmp_path / "held.jsonl")
    with pytest.raises(UserError, match="left to train on. Left out: .* cannot hold its"):
        finetuning_dry_run([names[0]], valid=names[1], model="tiny-config")
