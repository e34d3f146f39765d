"""Which layout a folder is read as, where the files of several lie in it."""

import json
from pathlib import Path

import pytest
from recordings import recording

from w2v2cli.data.corpora.readers import LISTS, CorpusError, read_corpus

FOREIGN = {
    "train.tsv": "client_id\tpath\tsentence\nx\ta.flac\tforeign\n",
    "metadata.csv": "a|foreign\n",
    "metadata.jsonl": '{"file_name": "a.flac", "text": "foreign"}\n',
    "transcripts.txt": "1_2_3\tforeign\n",
    "wav.scp": "a a.flac\n",
}


@pytest.fixture(params=list(FOREIGN))
def foreign(request, tmp_path):
    """A folder with the list of another layout in it."""
    recording(tmp_path / "a.flac")
    recording(tmp_path / "audio" / "1" / "2" / "1_2_3.flac")
    (tmp_path / request.param).write_text(FOREIGN[request.param])
    return tmp_path


def test_each_list_makes_a_corpus(foreign):
    [found] = read_corpus(foreign)
    assert found.id in ("a", "1_2_3") and found.text in ("foreign", None)
    assert set(FOREIGN) <= set(LISTS)


def librispeech(folder: Path):
    recording(folder / "84" / "1" / "84-1-0000.flac")
    (folder / "84" / "1" / "84-1.trans.txt").write_text("84-1-0000 OURS\n")


def table(folder: Path):
    recording(folder / "b.flac")
    (folder / "transcripts.tsv").write_text("id\tseconds\ttext\nb\t0.1\tOURS\n")


def timit(folder: Path):
    recording(folder / "TRAIN" / "DR1" / "FCJF0" / "SX1.WAV")
    (folder / "TRAIN" / "DR1" / "FCJF0" / "SX1.PHN").write_text("0 100 h#\n")
    (folder / "TRAIN" / "DR1" / "FCJF0" / "SX1.TXT").write_text("0 100 OURS\n")


def libri_light(folder: Path):
    recording(folder / "100" / "book" / "c.flac")
    (folder / "100" / "book" / "c.json").write_text(json.dumps({"voice_activity": [[0, 0.1]]}))


@pytest.mark.parametrize("older", [librispeech, table, timit, libri_light])
def test_older_layouts_keep_their_recognition(foreign, older, tmp_path_factory):
    alone = tmp_path_factory.mktemp("alone")
    older(alone)
    older(foreign)
    expected = [(u.id, u.text) for u in read_corpus(alone)]
    found = read_corpus(foreign)  # Libri-light's has every .flac, of any name
    assert expected and set(expected) <= {(u.id, u.text) for u in found}
    assert "foreign" not in {u.text for u in found}


def test_lists_go_before_pairs_and_pairs_before_bare_recordings(tmp_path):
    recording(tmp_path / "a.flac")
    assert [u.text for u in read_corpus(tmp_path)] == [None]
    (tmp_path / "a.txt").write_text("pair")
    assert [u.text for u in read_corpus(tmp_path)] == ["pair"]
    (tmp_path / "metadata.csv").write_text("a|list\n")
    assert [u.text for u in read_corpus(tmp_path)] == ["list"]


def test_two_lists_are_refused(tmp_path):
    recording(tmp_path / "a.flac")
    for name in ("wav.scp", "metadata.csv"):
        (tmp_path / name).write_text(FOREIGN[name])
    with pytest.raises(CorpusError, match="has several lists: metadata.csv, wav.scp. Name the"):
        read_corpus(tmp_path)
    assert [u.text for u in read_corpus(tmp_path / "wav.scp")] == [None]


def test_files_that_only_share_a_name_do_not_count(tmp_path):
    recording(tmp_path / "a.flac")
    (tmp_path / "metadata.csv").write_text("speaker,gender\n7,f\n")
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\na.flac\t1600\n")  # fairseq's
    (tmp_path / "transcripts.txt").write_text("some notes\n")
    assert [(u.id, u.text) for u in read_corpus(tmp_path)] == [("a", None)]
    assert read_corpus(tmp_path / "train.tsv")[0].samples == 1600


def test_a_manifest_of_ours_may_have_a_key_file_name(tmp_path):
    recording(tmp_path / "a.flac")
    (tmp_path / "metadata.jsonl").write_text('{"audio": "a.flac", "file_name": "x", "id": "7"}\n')
    assert [u.id for u in read_corpus(tmp_path / "metadata.jsonl")] == ["7"]


def test_many_lists_are_not_all_named(tmp_path):
    for number in range(9):
        recording(tmp_path / str(number) / "a.flac")
        (tmp_path / str(number) / "wav.scp").write_text("a a.flac\n")
    with pytest.raises(CorpusError, match="4/wav.scp, 5/wav.scp, 3 more. Name the list"):
        read_corpus(tmp_path)
