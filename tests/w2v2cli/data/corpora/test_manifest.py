import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from w2v2cli.data import scanning
from w2v2cli.data.audio import read_audio
from w2v2cli.data.corpora.manifest import write_fairseq, write_jsonl
from w2v2cli.data.corpora.readers import CorpusError, Utterance, read_corpus
from w2v2cli.data.scanning import Scan, manifest_rows, scan, whole_files, write_manifest
from w2v2cli.errors import UserError

DRAW = np.random.default_rng(4)


def recording(path, seconds=0.1, rate=16_000, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, DRAW.uniform(-0.5, 0.5, round(seconds * rate)), rate, **values)
    return path


@pytest.fixture
def corpus(tmp_path):
    """Five utterances of two speakers, one of them a copy; rates of all kinds."""
    folder = tmp_path / "corpus"
    recording(folder / "1" / "1-2-0000.flac", 0.2)
    recording(folder / "1" / "1-2-0001.wav", 0.1234, 44_100)
    recording(folder / "1" / "1-2-0002.mp3", 0.5)
    (folder / "1" / "1-2-0003.flac").write_bytes((folder / "1" / "1-2-0000.flac").read_bytes())
    recording(folder / "3" / "3-4-0000.ogg", 0.3, 22_050)
    (folder / "1" / "1-2.trans.txt").write_text(
        "".join(f"1-2-000{i} WORDS {i}\n" for i in range(4))
    )
    (folder / "3" / "3-4.trans.txt").write_text("3-4-0000 É'S\n")
    return folder


def test_a_manifest_says_what_reading_gives(corpus, tmp_path):
    utterances = read_corpus(corpus)
    found = scan(utterances, hashed=True)
    write_manifest(found, tmp_path / "m.jsonl")
    read = read_corpus(tmp_path / "m.jsonl")
    for before, after in zip(utterances, read, strict=True):
        assert after.samples == len(read_audio(before.path))
        assert after.seconds == pytest.approx(after.samples / 16_000, abs=1e-4)
        assert replace(after, samples=None, seconds=None) == before
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert rows[0]["audio_filepath"] == "corpus/1/1-2-0000.flac"
    assert [row["sample_rate"] for row in rows] == [16_000, 44_100, 16_000, 16_000, 22_050]
    assert [row["speaker"] for row in rows] == list("11113") and rows[4]["text"] == "É'S"
    assert found.duplicates == [[corpus / "1" / "1-2-0000.flac", corpus / "1" / "1-2-0003.flac"]]
    assert found.speakers == 2 and found.hours == pytest.approx(
        sum(u.samples for u in read) / 16_000 / 3600
    )


def test_a_manifest_in_another_folder_names_files_in_full(corpus, tmp_path):
    write_manifest(scan(read_corpus(corpus)), tmp_path / "elsewhere" / "m.jsonl")
    assert {u.path for u in read_corpus(tmp_path / "elsewhere" / "m.jsonl")} == {
        u.path for u in read_corpus(corpus)
    }


def test_processes_find_what_one_finds(corpus):
    utterances = read_corpus(corpus) * 20
    seen = []
    assert scan(utterances, 2, hashed=True, on_progress=lambda *at: seen.append(at)) == scan(
        utterances, 1, hashed=True
    )
    assert seen[-1] == (5, 5)  # each file once


def test_cuts_and_phones_come_back(tmp_path):
    recording(tmp_path / "a.flac", 1.0)
    cut = Utterance(
        "a_0001", tmp_path / "a.flac", None, "7", samples=3000, start=500, phones=("h#", "ax-h")
    )
    write_manifest(scan([cut]), tmp_path / "m.jsonl")
    assert read_corpus(tmp_path / "m.jsonl") == [replace(cut, seconds=0.1875)]


def test_what_cannot_be_read_is_named(corpus):
    utterances = read_corpus(corpus)
    (corpus / "1" / "1-2-0001.wav").write_bytes(b"no audio")
    (corpus / "3" / "3-4-0000.ogg").unlink()
    whole = (corpus / "1" / "1-2-0003.flac").read_bytes()
    (corpus / "1" / "1-2-0003.flac").write_bytes(whole[: len(whole) // 2])  # only decoding tells
    found = scan([*utterances, replace(utterances[0], id="cut", start=3000, samples=500)])
    assert [(u.id, reason.split(":")[0].split("/")[-1]) for u, reason in found.failures] == [
        ("1-2-0001", "1-2-0001.wav is not audio that can be read"),
        ("3-4-0000", "3-4-0000.ogg cannot be opened"),
        ("cut", "1-2-0000.flac ends before cut does."),
    ]
    assert [u.id for u, _ in found.utterances] == ["1-2-0000", "1-2-0002", "1-2-0003"]
    found = scan(utterances, decoded=True)
    assert [u.id for u, _ in found.failures] == ["1-2-0001", "1-2-0003", "3-4-0000"]


def test_fairseq_manifests_come_back(tmp_path):
    for i in range(3):
        recording(tmp_path / "audio" / str(i) / f"{i}.flac", 0.1 + i / 100)
    texts = ("ONE TWO", "THREE", "IT'S FOUR")
    given = [
        Utterance(str(i), tmp_path / "audio" / str(i) / f"{i}.flac", texts[i]) for i in range(3)
    ]
    write_fairseq(whole_files(scan(given)), tmp_path / "lists" / "train.tsv")
    lines = (tmp_path / "lists" / "train.tsv").read_text().splitlines()
    assert lines == [
        str((tmp_path / "audio").resolve()),
        "0/0.flac\t1600",
        "1/1.flac\t1760",
        "2/2.flac\t1920",
    ]
    assert (tmp_path / "lists" / "train.ltr").read_text().splitlines()[2] == "I T ' S | F O U R |"
    read = read_corpus(tmp_path / "lists" / "train.tsv")
    assert [(u.id, u.text, u.samples) for u in read] == [
        ("0", "ONE TWO", 1600), ("1", "THREE", 1760), ("2", "IT'S FOUR", 1920),
    ]  # fmt: skip
    (tmp_path / "lists" / "train.wrd").unlink()
    assert read_corpus(tmp_path / "lists" / "train.tsv") == read
    write_fairseq([replace(u, text=None) for u in read], tmp_path / "lists" / "unlabelled.tsv")
    assert [u.text for u in read_corpus(tmp_path / "lists" / "unlabelled.tsv")] == [None] * 3


def test_what_fairseq_cannot_say(corpus, tmp_path):
    with pytest.raises(
        UserError, match=r"whole files at 16000 Hz, which 1-2-0001 is not: write a \.jsonl"
    ):
        whole_files(scan(read_corpus(corpus)))
    with pytest.raises(ValueError, match="which a is not"):
        write_fairseq([Utterance("a", tmp_path / "a.flac", None)], tmp_path / "a.tsv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            '{"audio": "a.wav", "samples": "9"}',
            "line 1: samples should be a number of samples, got '9'",
        ),
        ('{"audio": "a.wav", "samples": -1}', "got -1"),
        ('{"audio": "a.wav", "start": 1.5}', "start should be a number of samples, got 1.5"),
        ('{"audio": "a.wav", "duration": "long"}', "duration should be seconds, got 'long'"),
        ("[1]", r"line 1 should be a JSON object: '\[1\]'"),
    ],
)
def test_rows_that_are_none(tmp_path, row, message):
    recording(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text(row + "\n")
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path / "m.jsonl")


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "m.jsonl").write_text("old")

    def rows():
        yield {"id": "a"}
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"m\.jsonl cannot be written: No space left"):
        write_jsonl(rows(), tmp_path / "m.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"] and (
        tmp_path / "m.jsonl"
    ).read_text() == "old"


def test_rows_of_nothing(tmp_path):
    assert list(manifest_rows(Scan(), tmp_path)) == []


def killed(paths, hashed, decoded):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_a_sentence(corpus, monkeypatch):
    monkeypatch.setattr(scanning, "_look_at_all", killed)
    with pytest.raises(UserError, match="was killed; is there enough memory"):
        scan(read_corpus(corpus), 2, hashed=True)
