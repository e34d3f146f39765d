"""Datasets of Hugging Face: recordings are read where they lie in Arrow and Parquet tables."""

import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import AudioError, measure, read_audio, read_part
from w2v2cli.data.corpora.readers import CorpusError, list_corpus, read_corpus
from w2v2cli.data.corpora.saved_dataset import Columns
from w2v2cli.data.decoding.tables import cell_of, cell_path, source_hash
from w2v2cli.data.recordings import FileRecordings
from w2v2cli.data.scanning import scan_corpus
from w2v2cli.data.shards.reader import ShardRecordings
from w2v2cli.data.shards.writer import shard_corpora

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

AUDIO = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def sound(number):
    return np.random.default_rng(number).integers(-9000, 9000, 4000 + number).astype(np.int16)


def file_bytes(number):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(number), 16_000, format="FLAC")
    return buffer.getvalue()


def table(numbers, **columns):
    cells = [{"bytes": file_bytes(n), "path": f"{n}.flac"} for n in numbers]
    columns = {"sentence": [f"say {n}" for n in numbers], **columns}
    return pyarrow.table({"audio": pyarrow.array(cells, AUDIO), **columns})


def save(folder, content):
    """As `datasets` 5.2 saves to disk; `test_the_library_itself` compares."""
    folder.mkdir(parents=True)
    name = "data-00000-of-00001.arrow"
    with pyarrow.ipc.new_stream(folder / name, content.schema) as file:
        file.write_table(content, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def hub(folder, **splits):
    """Parquet files as the hub stores them, two for each split."""
    (folder / "data").mkdir(parents=True)
    for split, numbers in splits.items():
        half = len(numbers) // 2
        for part, own in enumerate((numbers[:half], numbers[half:])):
            path = folder / "data" / f"{split}-{part:05}-of-00002.parquet"
            parquet.write_table(table(own), path, row_group_size=2)
    return folder


def check(utterances, numbers):
    assert [u.text for u in utterances] == [f"say {n}" for n in numbers]
    assert [u.id for u in utterances] == [str(n) for n in numbers]
    for utterance, number in zip(utterances, numbers, strict=True):
        expected = sound(number) / np.float32(32768)
        np.testing.assert_array_equal(read_audio(utterance.path), expected)
        assert measure(utterance.path) == len(expected)
        np.testing.assert_array_equal(read_part(utterance.path, 100, 50), expected[100:150])


def test_a_saved_dataset(tmp_path):
    check(read_corpus(save(tmp_path / "d", table(range(5)))), range(5))


def test_a_saved_dataset_of_splits(tmp_path):
    save(tmp_path / "d" / "train", table(range(3)))
    save(tmp_path / "d" / "test", table([7]))
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(CorpusError, match=r"has several splits: train, test\. Name the one to re"):
        read_corpus(tmp_path / "d")
    check(read_corpus(tmp_path / "d" / "test"), [7])
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    check(read_corpus(tmp_path / "d"), range(3))


def test_parquet_as_the_hub_stores_it(tmp_path):
    check(read_corpus(hub(tmp_path / "one", train=range(10))), range(10))
    two = hub(tmp_path / "two", train=range(6), test=range(20, 22))
    with pytest.raises(CorpusError, match=f"data/test, data/train. Name .* {two}/data/test"):
        read_corpus(two)
    check(read_corpus(two / "data" / "test"), range(20, 22))
    check(read_corpus(two / "data" / "train"), range(6))
    check(read_corpus(two / "data" / "test-00000-of-00002.parquet"), [20])


def test_recordings_that_lie_beside_the_table(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.flac").write_bytes(file_bytes(number))
    names = [f"{n}.flac" for n in range(3)]
    texts = {"sentence": [f"say {n}" for n in range(3)]}
    parquet.write_table(pyarrow.table({"audio": names, **texts}), tmp_path / "a.parquet")
    check(read_corpus(tmp_path / "a.parquet"), range(3))
    cells = pyarrow.array([{"bytes": None, "path": name} for name in names], AUDIO)
    parquet.write_table(pyarrow.table({"audio": cells, **texts}), tmp_path / "a.parquet")
    check(read_corpus(tmp_path / "a.parquet"), range(3))
    binary = pyarrow.array([file_bytes(n) for n in range(3)], pyarrow.binary())
    parquet.write_table(pyarrow.table({"audio": binary, **texts}), tmp_path / "b.parquet")
    found = read_corpus(tmp_path / "b.parquet")
    assert [u.id for u in found] == ["b-0", "b-1", "b-2"] and len(read_audio(found[2].path)) == 4002


def test_speakers_and_ids(tmp_path):
    own = {"id": ["x", "y"], "speaker_id": [7, 8]}
    [first, second] = read_corpus(save(tmp_path / "a", table([0, 1], **own)))
    assert (first.id, first.speaker, second.speaker) == ("x", "7", "8")
    repeated = {"id": [1, 1]}  # FLEURS numbers sentences
    assert [u.id for u in read_corpus(save(tmp_path / "b", table([0, 1], **repeated)))] == [
        "0",
        "1",
    ]
    found = read_corpus(save(tmp_path / "c", table([3, 3], **repeated)))
    assert [u.id for u in found] == ["data-00000-of-00001-0", "data-00000-of-00001-1"]


def test_columns_that_leave_a_choice(tmp_path):
    folder = save(tmp_path / "d", table([0], text=["other"]))
    with pytest.raises(CorpusError, match=r"several columns of texts: text, sentence .*--text-col"):
        read_corpus(folder)
    assert list_corpus(folder, columns=Columns(text="text"))[0].text == "other"
    scan_corpus(folder, tmp_path / "m.jsonl", columns=Columns(text="text"))
    [found] = read_corpus(tmp_path / "m.jsonl")
    assert found.text == "other" and len(read_audio(found.path)) == 4000
    with pytest.raises(CorpusError, match="has no column gone; it has audio, sentence, text"):
        list_corpus(folder, columns=Columns(text="gone"))
    two = table([0])
    folder = save(tmp_path / "e", two.append_column("clean", two.column("audio")))
    with pytest.raises(CorpusError, match=r"several columns of recordings: audio, clean .*--audio"):
        read_corpus(folder)
    assert len(list_corpus(folder, columns=Columns(audio="clean"))) == 1
    none = save(tmp_path / "f", pyarrow.table({"x": [1], "sentence": ["a"]}))
    with pytest.raises(CorpusError, match="no column of recordings among x, sentence: one has"):
        read_corpus(none)
    (tmp_path / "g").mkdir()
    with pytest.raises(CorpusError, match="no dataset of Hugging Face"):
        list_corpus(tmp_path / "g", columns=Columns(text="x"))


def test_a_scan_a_manifest_and_shards(tmp_path):
    folder = hub(tmp_path / "d", train=range(6))
    found = scan_corpus(folder, tmp_path / "m.jsonl", hashed=True)
    assert [facts.samples for _, facts in found.utterances] == [4000 + n for n in range(6)]
    check(read_corpus(tmp_path / "m.jsonl"), range(6))
    recordings = FileRecordings(read_corpus(folder))
    assert recordings.lengths.tolist() == [4000 + n for n in range(6)]
    np.testing.assert_array_equal(recordings.read(3, 10, 20), sound(3)[10:30] / np.float32(32768))
    pickle.loads(pickle.dumps(recordings)).read(5)  # as loader workers get it
    shard_corpora([str(folder)], tmp_path / "shards", jobs=1)
    packed = ShardRecordings(tmp_path / "shards")
    assert sorted(packed.ids) == [str(n) for n in range(6)]


def test_what_cannot_be_read_is_a_sentence(tmp_path):
    cells = [{"bytes": b"no sound", "path": "a"}, {"bytes": None, "path": "gone.flac"}]
    folder = save(tmp_path / "d", pyarrow.table({"audio": pyarrow.array(cells, AUDIO)}))
    noise, empty = [u.path for u in read_corpus(folder)]
    with pytest.raises(AudioError, match="audio/0 is not audio"):
        read_audio(noise)
    with pytest.raises(AudioError, match="column audio, row 1 holds no recording"):
        read_audio(empty)
    beyond = cell_path(noise.parent.parent, "audio", 9)
    with pytest.raises(AudioError, match="row 9: the table has 2 rows"):
        read_audio(beyond)
    with pytest.raises(AudioError, match="has no column gone"):
        read_audio(cell_path(noise.parent.parent, "gone", 0))
    found = scan_corpus(folder, tmp_path / "m.jsonl")
    assert len(found.failures) == 2
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(CorpusError, match="x.parquet is no Parquet file that can be read"):
        read_corpus(tmp_path / "x.parquet")
    whole = (folder / "data-00000-of-00001.arrow").read_bytes()
    (tmp_path / "x.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match="x.arrow is no Arrow file that can be read"):
        read_corpus(tmp_path / "x.arrow")
    (folder / "state.json").write_text("[]")
    with pytest.raises(CorpusError, match="state.json should be a JSON object"):
        read_corpus(folder)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "gone.arrow"}]}')
    with pytest.raises(CorpusError, match="gone.arrow cannot be read: No such file"):
        read_corpus(folder)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    folder = save(tmp_path / "d", table([0]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CorpusError, match=r"need pyarrow: pip install 'w2v2\[datasets\]'"):
        read_corpus(folder)


def test_a_path_that_is_in_no_table(tmp_path):
    (tmp_path / "a.flac").write_bytes(file_bytes(0))
    assert cell_of(tmp_path / "a.flac") is None and cell_of(tmp_path / "x.parquet/audio/0") is None
    (tmp_path / "y.parquet" / "audio").mkdir(parents=True)  # a folder of that name
    (tmp_path / "y.parquet" / "audio" / "0").write_bytes(file_bytes(0))
    assert len(read_audio(tmp_path / "y.parquet" / "audio" / "0")) == 4000
    assert source_hash(tmp_path / "a.flac") == source_hash(tmp_path / "y.parquet/audio/0")


@pytest.mark.filterwarnings("ignore")
def test_the_library_itself(tmp_path, monkeypatch):
    """What Hugging Face's own library writes is read."""
    datasets = pytest.importorskip("datasets")
    # Its hash of each call, which nothing here needs, cannot pickle the types of pyarrow 26.
    hasher = "datasets.fingerprint.Hasher.hash"
    monkeypatch.setattr(hasher, classmethod(lambda cls, value: "0123456789abcdef"))
    rows = []
    for number in range(4):
        path = tmp_path / f"{number}.flac"
        path.write_bytes(file_bytes(number))
        rows.append({"audio": str(path), "sentence": f"say {number}"})
    made = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio())
    made.save_to_disk(tmp_path / "saved")
    check(read_corpus(tmp_path / "saved"), range(4))
    datasets.DatasetDict(test=made.select([2, 0])).save_to_disk(tmp_path / "dict")
    check(read_corpus(tmp_path / "dict"), [2, 0])
    (tmp_path / "hub").mkdir()
    made.to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    assert [u.text for u in read_corpus(tmp_path / "hub")] == [row["sentence"] for row in rows]


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_a_table_with_bytes_changed_is_read_or_refused(tmp_path, suffix):
    """In a process of its own: offsets that lead out of a file would end it."""
    path = tmp_path / f"whole{suffix}"
    content = table(range(4), client_id=["a", "b", "a", "b"])
    if suffix == ".parquet":
        parquet.write_table(content, path)
    else:
        with pyarrow.ipc.new_stream(path, content.schema) as file:
            file.write_table(content)
    result = subprocess.run(
        [sys.executable, "-c", MUTATIONS, str(path)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) > 20  # refusals, so that the changes were not all harmless


MUTATIONS = """
import random, sys
from pathlib import Path
from w2v2cli.data.audio import AudioError, read_audio
from w2v2cli.data.corpora.readers import CorpusError, list_corpus

source, refused = Path(sys.argv[1]), 0
for seed in range(80):
    draw, content = random.Random(seed), bytearray(source.read_bytes())
    for _ in range(draw.choice([1, 2, 5, 20])):
        ends = draw.randrange(1500), len(content) - 1 - draw.randrange(1500)
        content[draw.choice([*ends, draw.randrange(len(content))])] = draw.randrange(256)
    mutated = source.with_name(f"{seed}{source.suffix}")
    mutated.write_bytes(content[: draw.choice([len(content)] * 9 + [len(content) // 2])])
    try:
        for utterance in list_corpus(mutated):
            try:
                read_audio(utterance.path)
            except AudioError:
                pass
    except CorpusError:
        refused += 1
print(refused)
"""
