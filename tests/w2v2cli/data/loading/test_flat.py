import pickle

import numpy as np
import pytest
import soundfile

from w2v2cli.data.loading.flat import Rows, Strings, Texts
from w2v2cli.data.recordings import FileRecordings
from w2v2cli.data.utterance import Utterance


def test_strings_come_back_also_those_of_file_names_that_are_not_utf8():
    strings = ["", "plain", "Ünïcode 日本", "bad\udcff.flac"]
    assert list(Strings.of(strings)) == strings
    assert list(Strings.joined([Strings.of(strings[:2]), Strings.of(strings[2:])])) == strings


def test_texts_tell_an_empty_one_from_none():
    assert list(Texts.of(["", None, "a"])) == ["", None, "a"]


def test_rows_of_any_length_come_back_as_numbers():
    rows = [(), (3, 1), (7,), ()]
    flat = Rows.of(rows)
    assert len(flat) == 4 and [tuple(flat[i].tolist()) for i in range(4)] == rows
    assert flat[1].dtype == np.int64


def test_files_are_sent_to_a_process_in_a_few_arrays_and_read_there(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(1600) / 2000, 16_000)
    many = [Utterance(f"a{i}", tmp_path / "a.wav", None, samples=100, start=i) for i in range(999)]
    sent = pickle.dumps(FileRecordings(many))
    assert sent.count(b"Utterance") == sent.count(b"PosixPath") == 0
    again = pickle.loads(sent)
    assert again.read(500, 10, 4) == pytest.approx(np.arange(510, 514) / 2000, abs=1e-4)
