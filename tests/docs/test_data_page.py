"""docs/data.md: its examples are read as it says, and its lists are those of the code."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open

from w2v2cli.data.audio import SUFFIXES
from w2v2cli.data.corpora import metadata
from w2v2cli.data.corpora.catalogue import MINIATURE, TRAINING_NAMES
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.corpora.readers import LISTS, read_corpus
from w2v2cli.data.corpora.saved_dataset import PATHS
from w2v2cli.data.scanning import scan_corpus, split_corpus
from w2v2cli.data.shards.index import index_path
from w2v2cli.data.shards.writer import shard_corpora

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def section(heading):
    return re.split(r"^#+ ", PAGE.split(f"# {heading}\n")[1], flags=re.M)[0]


def examples(heading):
    """The contents of a section's fenced blocks."""
    return re.findall(r"^```\w+\n(.*?)^```$", section(heading), re.M | re.S)


def first_cells(heading):
    rows = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [name for row in rows[1:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def recording(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 16_000)), 16_000)


def test_jsonl(tmp_path):
    manifest, nemo = examples("JSONL manifests")
    for name in ("a.flac", "b.wav", "c.flac"):
        recording(tmp_path / "audio" / name)
    (tmp_path / "m.jsonl").write_text(manifest)
    a, cut, b, c = read_corpus(tmp_path / "m.jsonl")
    assert (a.id, a.text, a.speaker, a.samples) == ("a", "ONE TWO", "7", 16_000)
    assert (cut.id, cut.path, cut.start, cut.samples) == ("a_0001", a.path, 8000, 4000)
    assert (b.id, b.text, b.seconds, b.samples) == ("b", "THREE", 0.5, None)
    assert (c.id, c.text, c.phones) == ("c", None, ("h#", "sh", "iy", "h#"))
    used = {key for line in (manifest + nemo).splitlines() for key in json.loads(line)}
    assert used == set(first_cells("JSONL manifests"))


def test_nemo(tmp_path):
    _, nemo = examples("JSONL manifests")
    recording(tmp_path / "ann" / "talk.wav", 1.5)
    recording(tmp_path / "bob" / "talk.wav")
    (tmp_path / "m.json").write_text(nemo)
    found = read_corpus(tmp_path / "m.json")
    assert [(u.text, u.start, u.samples) for u in found] == [
        ("one", 8000, 12_000),
        ("two", 20_000, 4000),
        ("three", 0, 16_000),
    ]
    assert all(f"`{u.id}`" in section("JSONL manifests") for u in found)


def test_common_voice(tmp_path):
    [listing] = examples("Common Voice")
    rows = [line.split("\t") for line in listing.splitlines()][1:]
    for _, name, *_ in rows:
        recording(tmp_path / "clips" / name)
    (tmp_path / "train.tsv").write_text(listing, encoding="utf-8")
    found = read_corpus(tmp_path)
    assert [[u.speaker, u.path.name, u.text] for u in found] == [row[:3] for row in rows]


def test_ljspeech(tmp_path):
    [listing] = examples("LJSpeech")
    for name in ("LJ001-0001", "LJ001-0002"):
        recording(tmp_path / "wavs" / f"{name}.wav")
    (tmp_path / "metadata.csv").write_text(listing)
    assert [u.text for u in read_corpus(tmp_path)] == [
        "Printing, in fourteen fifty",
        'in being "comparatively" modern.',
    ]


def test_audiofolder(tmp_path):
    [listing] = examples("AudioFolder")
    for name in ("ann", "bob"):
        recording(tmp_path / name / "one.wav")
    (tmp_path / "metadata.csv").write_text(listing)
    assert [(u.id, u.text, u.speaker) for u in read_corpus(tmp_path)] == [
        ("ann/one", "Well, one", "7"),
        ("bob/one", "two", "8"),
    ]
    named = re.findall(r"`(\w+)`", section("AudioFolder").split("The text is the first of")[1])
    assert named == [*metadata.TEXTS, *metadata.SPEAKERS]


def test_multilingual_librispeech(tmp_path):
    [listing] = examples("Multilingual LibriSpeech")
    for line in listing.splitlines():
        speaker, book, _ = line.split("_")
        recording(tmp_path / "audio" / speaker / book / f"{line.split()[0]}.flac")
    (tmp_path / "transcripts.txt").write_text(listing, encoding="utf-8")
    found = read_corpus(tmp_path)
    assert [f"{u.id}\t{u.text}" for u in found] == listing.splitlines()


def test_kaldi(tmp_path):
    for name, content in zip(
        ("wav.scp", "segments", "text", "utt2spk"), examples("Kaldi"), strict=True
    ):
        (tmp_path / name).write_text(content)
    for name in "ab":
        recording(tmp_path / "audio" / f"{name}.wav")
    found = read_corpus(tmp_path)
    assert [(u.id, u.text, u.speaker, u.start, u.samples) for u in found] == [
        ("ann-1", "one", "ann", 4000, 8000),
        ("ann-2", "two", "ann", 12_000, None),
        ("bob-1", "three", "bob", 0, 8000),
    ]


def test_the_lists_that_make_a_folder_a_corpus():
    told = section("Corpora by path").split("make a folder a corpus are")[1].split("where")[0]
    assert re.findall(r"`([^`]+)`", told) == list(LISTS)


def test_fairseq(tmp_path):
    manifest, words, letters = examples("Fairseq manifests")
    for name in ("a.flac", "b.flac"):
        recording(tmp_path / name)
    (tmp_path / "train.tsv").write_text(manifest.replace("/data/audio", str(tmp_path)))
    assert [u.text for u in read_corpus(tmp_path / "train.tsv")] == [None, None]
    (tmp_path / "train.ltr").write_text(letters)
    found = read_corpus(tmp_path / "train.tsv")
    assert [(u.text, u.samples) for u in found] == [("ONE TWO", 16_000), ("THREE", 8_000)]
    (tmp_path / "train.wrd").write_text(words)
    assert read_corpus(tmp_path / "train.tsv") == found


def test_librispeech(tmp_path):
    [listing] = examples("LibriSpeech")
    folder = tmp_path / "84" / "121123"
    for line in listing.splitlines():
        recording(folder / f"{line.split()[0]}.flac")
    (folder / "84-121123.trans.txt").write_text(listing)
    found = read_corpus(tmp_path)
    assert [f"{u.id} {u.text}" for u in found] == listing.splitlines()
    assert {u.speaker for u in found} == {"84"}


@pytest.mark.parametrize("path", ["", "transcripts.tsv"])
def test_a_table(tmp_path, path):
    [table] = examples("A table")
    rows = [line.split("\t") for line in table.splitlines()]
    for name, seconds, _ in rows[1:]:
        recording(tmp_path / f"{name}.flac", float(seconds))
    (tmp_path / "transcripts.tsv").write_text(table)
    found = read_corpus(tmp_path / path)
    assert [[u.id, f"{u.seconds:.3f}", u.text] for u in found] == rows[1:]


def test_timit(tmp_path):
    [phones] = examples("TIMIT")
    folder = tmp_path / "TRAIN" / "DR1" / "FCJF0"
    for name in ("SA1", "SX37"):
        recording(folder / f"{name}.WAV", 0.1)
        (folder / f"{name}.PHN").write_text(phones)
    (folder / "SX37.WRD").write_text("500 1600 she\n")
    [found] = read_corpus(tmp_path)
    assert (found.id, found.text, found.phones) == ("FCJF0-SX37", "she", ("h#", "sh", "ax-h"))


def test_libri_light(tmp_path):
    [description] = examples("Libri-light")
    recording(tmp_path / "100" / "book" / "a.flac", 4)
    (tmp_path / "100" / "book" / "a.json").write_text(description)
    found = read_corpus(tmp_path)
    assert [(u.id, u.start, u.samples) for u in found] == [
        ("100/book/a_0000", 1600, 6400),
        ("100/book/a_0001", 48_000, 8000),
    ]


def test_the_columns_of_datasets_are_those_of_the_code():
    told = section("Datasets of Hugging Face")
    texts = re.search(r"The text is in (.+?),\s+the speaker in (.+?)\.", told, re.S)
    assert tuple(re.findall(r"`(\w+)`", texts[1])) == metadata.TEXTS
    assert tuple(re.findall(r"`(\w+)`", texts[2])) == metadata.SPEAKERS
    named = re.search(r"else the paths in a column (.+?),\s+relative", told, re.S)
    assert set(re.findall(r"`(\w+)`", named[1])) == set(PATHS)


def test_lists_are_those_of_the_code():
    suffixes = re.search(r"Suffixes: `([^`]+)`", PAGE)[1].split()
    assert set(suffixes) == SUFFIXES
    assert sorted(first_cells("Corpora by name")) == sorted(TRAINING_NAMES)


def test_the_rule_of_held_out_utterances():
    told = re.findall(r"`(LJ\d+-\d+)`(?: is)?\s+(train|dev|test)", section("What is held out"))
    assert len(told) == 3
    assert all(split_of(name) == split for name, split in told)


def test_the_printed_figures_and_the_index(tmp_path):
    found = scan_corpus(MINIATURE / "dev-clean", tmp_path / "dev-clean.jsonl", hashed=False)
    summary = f"{len(found.utterances)} recordings, {found.hours:.2f} hours"
    assert f"dev-clean.jsonl: {summary}, {found.speakers} speakers." in PAGE
    parts, _ = split_corpus(MINIATURE, tmp_path / "parts")
    for split, part in parts.items():
        count, hours = len(part.utterances), f"{part.hours:.2f} hours"
        line = f"parts/{split}.jsonl: {count} recordings, {hours}, {part.speakers} speakers."
        assert line in PAGE
        assert len(read_corpus(tmp_path / "parts" / f"{split}.jsonl")) == count
    name = str(MINIATURE / "dev-clean")
    made = shard_corpora([name], tmp_path / "shards", shard_bytes=0.5e6)
    assert f"shards: {made.shards} shards, {summary}." in PAGE
    with safe_open(index_path(tmp_path / "shards" / "shard-000000.tar"), "np") as index:
        assert sorted(index.keys()) == sorted(first_cells("Shards"))
        facts = json.loads(index.metadata()["shard"])
    assert all(f"`{key}`" in section("Shards") for key in facts)
