"""NeMo's manifests: JSON lines with offset and duration, often without ids."""

import json

import numpy as np
import pytest
import soundfile

from w2v2cli.data.corpora.readers import CorpusError, read_corpus
from w2v2cli.data.recordings import read_utterance

RATE = 16_000


@pytest.fixture
def folder(tmp_path):
    for name, seconds in {"ann/one.wav": 2, "bob/one.wav": 1, "bob/two.wav": 1}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(-99, 99, seconds * RATE, dtype=np.int16)
        soundfile.write(tmp_path / name, noise, RATE)
    return tmp_path


def read(folder, *rows):
    (folder / "m.json").write_text("\n".join(json.dumps(row) for row in rows))
    return read_corpus(folder / "m.json")


def test_offset_and_duration_are_a_cut(folder):
    rows = [
        {"audio_filepath": "ann/one.wav", "offset": 0.5, "duration": 0.75, "text": "a"},
        {"audio_filepath": "ann/one.wav", "offset": 0, "duration": 0.5, "text": "b"},
        {"audio_filepath": "ann/one.wav", "offset": 1.25, "text": "c", "speaker": 7},
        {"audio_filepath": str(folder / "bob" / "two.wav"), "offset": 0.0, "duration": 1.001},
        {"audio_filepath": "bob/one.wav", "duration": 0.5},
    ]
    a, b, c, two, one = read(folder, *rows)
    wave, _ = soundfile.read(folder / "ann" / "one.wav", dtype="float32")
    for utterance, part in [(a, wave[8000:20_000]), (b, wave[:8000]), (c, wave[20_000:])]:
        np.testing.assert_array_equal(read_utterance(utterance), part)
    assert (two.id, two.samples) == ("two", RATE)  # a rounded duration ends with the file
    # without offset the duration is a remark, as it always was
    assert (one.recorded, one.seconds) == (folder / "bob" / "one.wav", 0.5)
    assert [u.id for u in (a, b, c, one)] == [
        "ann/one_500-1250", "ann/one_0-500", "ann/one_1250-", "bob/one"
    ]  # fmt: skip
    assert c.speaker == "7"


def test_ids_that_are_given_or_unique_stay(folder):
    rows = [
        {"audio_filepath": "ann/one.wav", "id": "one"},
        {"audio_filepath": "bob/two.wav"},
        {"audio_filepath": "ann/one.wav", "id": 7, "start": 0, "samples": 800},
    ]
    assert [u.id for u in read(folder, *rows)] == ["one", "two", "7"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"offset": -1}, "line 2: offset should be seconds, got -1"),
        ({"offset": "1"}, "line 2: offset should be seconds, got '1'"),
        ({"offset": float("nan")}, "line 2: offset should be seconds, got nan"),
        ({"duration": float("inf")}, "line 2: duration should be seconds, got inf"),
        ({"offset": 1, "duration": 0}, "line 2: duration should be above 0, got 0"),
        ({"offset": 1, "start": 5}, "line 2 has both start and offset"),
        ({"audio_filepath": "bob/one.wav"}, "line 2 lists what line 1 lists already, .*bob/one"),
    ],
)
def test_what_is_wrong(folder, row, message):
    with pytest.raises(CorpusError, match=message):
        read(folder, {"audio_filepath": "bob/one.wav"}, {"audio_filepath": "ann/one.wav", **row})
