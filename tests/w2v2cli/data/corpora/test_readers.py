import json
import shutil

import pytest
from recordings import recording

from w2v2cli.data.corpora.catalogue import (
    MINIATURE,
    TRAINING_NAMES,
    TRAINING_SPLITS,
    find_splits,
    find_training_corpus,
)
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.corpora.readers import LIBRISPEECH_SPLITS, CorpusError, read_corpus
from w2v2cli.errors import UsageError


def test_librispeech_trees(tmp_path):
    for name in ("84-1-0000", "84-1-0001", "9-2-0000"):
        speaker, chapter, _ = name.split("-")
        recording(tmp_path / "dev-clean" / speaker / chapter / f"{name}.flac")
        with (tmp_path / "dev-clean" / speaker / chapter / f"{speaker}-{chapter}.trans.txt").open(
            "a"
        ) as file:
            file.write(f"{name} SOME WORDS\n")
    found = read_corpus(tmp_path)
    assert [(u.id, u.text, u.speaker) for u in found] == [
        ("84-1-0000", "SOME WORDS", "84"),
        ("84-1-0001", "SOME WORDS", "84"),
        ("9-2-0000", "SOME WORDS", "9"),
    ]


def test_fairseq_manifests(tmp_path):
    recording(tmp_path / "audio" / "a.wav")
    recording(tmp_path / "audio" / "b.wav")
    (tmp_path / "dev.tsv").write_text(f"{tmp_path}/audio\na.wav\t1600\nb.wav\t1600\n")
    assert [u.text for u in read_corpus(tmp_path / "dev.tsv")] == [None, None]
    (tmp_path / "dev.ltr").write_text("O N E | T W O |\nT H R E E |\n")
    assert [u.text for u in read_corpus(tmp_path / "dev.tsv")] == ["ONE TWO", "THREE"]
    (tmp_path / "dev.wrd").write_text("ONE\n")
    with pytest.raises(CorpusError, match="lists 2 recordings, but .*dev.wrd has 1 lines"):
        read_corpus(tmp_path / "dev.tsv")


def test_jsonl(tmp_path):
    recording(tmp_path / "a.wav")
    rows = [
        {"audio_filepath": "a.wav", "text": "one"},
        {"audio": str(tmp_path / "a.wav"), "id": 7, "speaker": "x"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(u.id, u.text, u.speaker) for u in read_corpus(tmp_path / "m.jsonl")] == [
        ("a", "one", None),
        ("7", None, "x"),
    ]


def test_our_tables(shared_data):
    found = read_corpus(shared_data / "ljspeech")
    assert len(found) == 356 and found[1].text == "in being comparatively modern."
    assert {split_of(u.id) for u in found} == {"train", "dev", "test"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.jsonl", None, "There is no corpus at"),
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", '{"text": "a"}', "names no recording"),
        (
            "a.jsonl",
            '{"audio": "gone.wav"}',
            "1 of 1 recordings are missing, the first is .*gone.wav",
        ),
        ("a.jsonl", '{"audio": "a.wav", "text": 5}', "line 1: text should be a string, got 5"),
        ("a.jsonl", "\n", "is empty"),
        ("a.tsv", "/root\nno tab here\n", "should be a path and a number of samples"),
        ("a.tsv", "id\tseconds\ttext\na\tb\n", "line 2 should be id, seconds and text"),
        ("a.tsv", "id\tseconds\ttext\na\tlong\tb\n", "line 2 should be id, seconds and text"),
        ("a.csv", "x", "is not a corpus"),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path / name)


def test_a_folder_without_any_list(tmp_path):
    with pytest.raises(CorpusError, match=r"neither \*.trans.txt files"):
        read_corpus(tmp_path)


def test_where_a_split_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    [part] = find_splits("test-other", None)
    assert "not LibriSpeech" in part.note and len(part.utterances) > 5
    assert [p.name for p in find_splits("all", None)] == [
        "dev-clean",
        "dev-other",
        "test-clean",
        "test-other",
    ]
    shutil.copytree(MINIATURE / "test-other", tmp_path / "disk" / "LibriSpeech" / "test-other")
    monkeypatch.setenv("W2V2_DATA", str(tmp_path / "disk"))
    assert find_splits("test-other", None)[0].note is None
    assert find_splits("test-other", tmp_path / "disk" / "LibriSpeech")[0].note is None
    with pytest.raises(CorpusError, match="has no test-clean"):
        find_splits("test-clean", tmp_path / "disk")
    with pytest.raises(UsageError, match="--split takes"):
        find_splits("test", None)


def test_the_shipped_clean_splits_hold_nothing_that_was_trained_on(shared_data):
    import hashlib

    def digest(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    training = {
        digest(u.path) for u in read_corpus(shared_data / "ljspeech") if split_of(u.id) == "train"
    }
    for part in find_splits("all", MINIATURE):
        assert not {digest(u.path) for u in part.utterances} & training


def librispeech(folder, speaker):
    name = f"{speaker}-1-0000"
    recording(folder / str(speaker) / "1" / f"{name}.flac")
    (folder / str(speaker) / "1" / f"{speaker}-1.trans.txt").write_text(f"{name} SOME WORDS\n")


def test_training_corpora_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    for number, split in enumerate(TRAINING_SPLITS, 1):
        with pytest.raises(
            CorpusError,
            match=r"train-960 is not below .*disk: give .*w2v2 data prepare librispeech",
        ):
            find_training_corpus("train-960", tmp_path / "disk")
        librispeech(tmp_path / "disk" / "LibriSpeech" / split, number)
    assert [u.id for u in find_training_corpus("train-960", tmp_path / "disk")] == [
        "1-1-0000",
        "2-1-0000",
        "3-1-0000",
    ]
    monkeypatch.setenv("W2V2_DATA", str(tmp_path / "disk"))
    assert [u.speaker for u in find_training_corpus("train-clean-360")] == ["2"]
    assert (
        find_training_corpus(str(tmp_path / "disk" / "LibriSpeech" / "train-other-500"))[0].speaker
        == "3"
    )
    with pytest.raises(
        CorpusError, match="librilight-10h is not below .*w2v2 data prepare librilight"
    ):
        find_training_corpus("librilight-10h")
    assert set(LIBRISPEECH_SPLITS) | {"timit-train", "librilight-10min"} < set(TRAINING_NAMES)


def test_a_prepared_manifest_is_preferred_for_its_lengths(tmp_path):
    librispeech(tmp_path / "LibriSpeech" / "train-clean-100", 1)
    assert find_training_corpus("train-clean-100", tmp_path)[0].samples is None
    (tmp_path / "manifests").mkdir()
    row = {
        "audio_filepath": "../LibriSpeech/train-clean-100/1/1/1-1-0000.flac",
        "samples": 1600,
        "text": "SOME WORDS",
    }
    (tmp_path / "manifests" / "train-clean-100.jsonl").write_text(json.dumps(row))
    assert find_training_corpus("train-clean-100", tmp_path)[0].samples == 1600


def test_names_that_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"There is no corpus 'train-clean-10'; did you mean train-clean-100"
    ):
        find_training_corpus("train-clean-10")
    with pytest.raises(
        UsageError, match=r"There is no corpus 'x'; there are train-clean-100, .*, or a path"
    ):
        find_training_corpus("x")
    with pytest.raises(CorpusError, match="There is no corpus at data/x"):
        find_training_corpus("data/x")


def test_a_folder_of_recordings_nobody_wrote_down(tmp_path):
    recording(tmp_path / "a" / "b.wav")
    recording(tmp_path / "84-1-0000.flac")
    assert [(u.id, u.text, u.speaker) for u in read_corpus(tmp_path)] == [
        ("84-1-0000", None, "84"), ("a/b", None, None),
    ]  # fmt: skip
