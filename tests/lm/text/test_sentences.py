"""Which files are texts, and which lines are sentences."""

import gzip

import pytest

from lm.text.normalizers import Normalizer
from lm.text.reading import AS_IT_IS, Reading
from lm.text.sentences import TextError, read_sentences, text_files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b.txt").write_text("The cat.\n\n \nIt sat")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt.gz").write_bytes(gzip.compress(b"the dog\n"))
    (tmp_path / "notes.md").write_text("no text of the folder")
    return tmp_path


def test_texts_are_those_named_and_those_in_folders(folder):
    inside = [folder / "b.txt", folder / "in" / "a.txt.gz"]
    assert list(text_files([folder])) == inside
    assert list(text_files([folder / "notes.md", folder / "in"])) == [
        folder / "notes.md",
        inside[1],
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "There is no text at"), ("empty", "holds no .txt or .txt.gz")]
)
def test_what_is_not_a_text_is_named(folder, name, message):
    (folder / "empty").mkdir()
    with pytest.raises(TextError, match=message):
        list(text_files([folder / name]))


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (AS_IT_IS, [["The", "cat."], ["It", "sat"]]),
        (Reading(Normalizer(), lines=False), [["THE", "CAT"], ["IT", "SAT"]]),
    ],
)
def test_blank_lines_are_not_sentences(folder, reading, expected):
    assert list(read_sentences(folder / "b.txt", reading)) == expected
