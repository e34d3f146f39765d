"""Which files are texts, and which lines are sentences."""

import gzip
import os

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


def test_texts_in_folders_are_found_through_links_and_nothing_else(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "b.txt").write_text("two\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("one\n")
    (tmp_path / "texts" / "._a.txt").write_bytes(b"\x00\x05\x16\x07\xff")  # as macOS leaves it
    os.mkfifo(tmp_path / "texts" / "pipe.txt")
    os.symlink(tmp_path / "disk", tmp_path / "texts" / "linked")
    os.symlink(tmp_path / "texts", tmp_path / "texts" / "circle")
    found = list(text_files([tmp_path / "texts"]))
    assert found == [tmp_path / "texts" / "a.txt", tmp_path / "texts" / "linked" / "b.txt"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_byte_order_mark_is_no_part_of_a_word(tmp_path, name):
    content = "\ufeffthe dog\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(read_sentences(tmp_path / name)) == [["the", "dog"]]
