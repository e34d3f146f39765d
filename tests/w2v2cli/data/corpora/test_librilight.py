"""Libri-light's layouts, made here: long recordings with voice activity, and the labelled sets."""

import json

import numpy as np
import pytest
import soundfile

from w2v2cli.data.corpora import librilight
from w2v2cli.data.corpora.catalogue import find_training_corpus
from w2v2cli.data.corpora.librilight import cuts, read_librilight
from w2v2cli.data.corpora.readers import CorpusError, read_corpus
from w2v2cli.data.recordings import FileRecordings

RAMP = np.arange(16_000, dtype=np.int16)  # a second, each sample its own place


def book(folder, name, voiced=None, samples=RAMP, **values):
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{name}.flac", samples, 16_000, subtype="PCM_16")
    if voiced is not None:
        (folder / f"{name}.json").write_text(json.dumps({"voice_activity": voiced, **values}))


@pytest.mark.parametrize(
    ("voiced", "expected"),
    [
        ([], []),
        ([(1, 5)], [(1, 5)]),
        ([(0, 4), (5, 9), (9, 12)], [(0, 9), (9, 12)]),  # 12 s would be above 10
        ([(0, 5), (5.5, 10)], [(0, 10)]),  # exactly as long as allowed
        ([(0, 1), (4, 5)], [(0, 1), (4, 5)]),  # too long a pause
        (
            [(0, 1), (2, 26), (27, 28)],
            [(0, 1), (2, 10), (10, 18), (18, 26), (27, 28)],
        ),  # one stretch of 24 s
    ],
)
def test_cuts(voiced, expected):
    assert list(cuts(voiced, longest=10)) == expected


def test_cuts_keep_all_speech_and_their_length():
    draw = np.random.default_rng(3)
    for _ in range(50):
        borders = np.cumsum(draw.uniform(0.05, 20, 60)).reshape(-1, 2)
        found = list(cuts([tuple(pair) for pair in borders]))
        assert all(0 < end - start <= 60 + 1e-9 for start, end in found)
        assert all(a[1] <= b[0] + 1e-9 for a, b in zip(found, found[1:], strict=False))
        for start, end in borders:  # every stretch lies in one cut, or in several that touch
            inside = [min(end, b) - max(start, a) for a, b in found if min(end, b) > max(start, a)]
            assert sum(inside) == pytest.approx(end - start)


def test_an_unlabelled_tree_is_cut_where_nobody_speaks(tmp_path, monkeypatch):
    tree = tmp_path / "small"
    book(
        tree / "100" / "a_book_64kb",
        "chapter_01",
        [[0.1, 0.25], [0.26, 0.5], [0.9, 1.0]],
        speaker="100",
        snr=5.4,
    )
    book(tree / "100" / "a_book_64kb", "chapter_02")
    book(tree / "7" / "other_64kb", "silence", [], speaker="7")
    with monkeypatch.context() as patch:
        patch.setattr(librilight, "LONGEST", 0.45)  # seconds
        found = list(read_librilight(tree))
    assert [(u.id, u.start, u.samples, u.speaker, u.text) for u in found] == [
        ("100/a_book_64kb/chapter_01_0000", 1600, 6400, "100", None),
        ("100/a_book_64kb/chapter_01_0001", 14400, 1600, "100", None),
        ("100/a_book_64kb/chapter_02", 0, None, "100", None),
    ]
    recordings = FileRecordings(found)
    assert list(recordings.lengths) == [6400, 1600, 16_000]
    np.testing.assert_array_equal(recordings.read(0) * 32768, RAMP[1600:8000])
    np.testing.assert_array_equal(recordings.read(1, 100, 50) * 32768, RAMP[14_500:14_550])
    assert [u.start for u in find_training_corpus("librilight-small", tmp_path)] == [1600, 0]
    assert len(read_corpus(tree)) == len(find_training_corpus("librilight-600", tmp_path)) == 2


def test_a_tree_without_any_description(tmp_path):
    book(tmp_path / "100" / "a_book", "chapter_01")
    [found] = read_corpus(tmp_path)
    assert (found.id, found.speaker, found.start, found.text) == (
        "100/a_book/chapter_01",
        "100",
        0,
        None,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "x.json is not a description of Libri-light"),
        ("[]", "is not a description"),
        ('{"speaker": "1"}', "is not a description"),
        ('{"voice_activity": [[1]]}', "is not a description"),
        (
            '{"voice_activity": [[2, 1]]}',
            r"the stretch \[2.0, 1.0\] of voice_activity is out of order",
        ),
        (
            '{"voice_activity": [[0, 2], [1, 3]]}',
            r"the stretch \[1.0, 3.0\] of voice_activity is out of order",
        ),
        ('{"voice_activity": [[0, Infinity]]}', "is out of order"),
    ],
)
def test_descriptions_that_are_none(tmp_path, content, message):
    book(tmp_path / "1" / "b", "x")
    (tmp_path / "1" / "b" / "x.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(read_librilight(tmp_path))


def chapter(folder, name, count):
    speaker, number = name.split("-")
    folder = folder / speaker / number
    folder.mkdir(parents=True)
    for i in range(count):
        soundfile.write(folder / f"{name}-{i:04}.flac", RAMP[:1600], 16_000)
    (folder / f"{name}.trans.txt").write_text(
        "".join(f"{name}-{i:04} SOME WORDS\n" for i in range(count))
    )


@pytest.fixture
def limited(tmp_path):
    base = tmp_path / "librispeech_finetuning"
    for fold in range(6):
        chapter(base / "1h" / str(fold) / "clean", f"{fold}-1", 2)
        chapter(base / "1h" / str(fold) / "other", f"{fold}-2", 1)
    chapter(base / "9h" / "clean", "20-1", 5)
    chapter(base / "9h" / "other", "21-1", 4)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "utterances", "speakers"), [("10min", 3, 1), ("1h", 18, 6), ("10h", 27, 8)]
)
def test_the_limited_sets_hold_one_another(limited, name, utterances, speakers):
    found = find_training_corpus(f"librilight-{name}", limited)
    assert len(found) == len({u.id for u in found}) == utterances
    assert len({u.speaker for u in found}) == speakers
    assert find_training_corpus(f"librilight-{name}", limited / "librispeech_finetuning") == found


def test_a_limited_set_of_which_a_part_is_missing(limited):
    (limited / "librispeech_finetuning" / "9h").rename(limited / "elsewhere")
    assert len(find_training_corpus("librilight-1h", limited)) == 18
    with pytest.raises(CorpusError, match=r"librilight-10h is incomplete: .*9h is missing"):
        find_training_corpus("librilight-10h", limited)
    (limited / "librispeech_finetuning" / "1h" / "3").rename(limited / "fold")
    with pytest.raises(CorpusError, match=r"librilight-1h is incomplete: .*3 is missing"):
        find_training_corpus("librilight-1h", limited)
