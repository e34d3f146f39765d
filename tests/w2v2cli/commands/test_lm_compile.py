"""`w2v2 lm compile`: the search's files made ahead, and found by the searches that come."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from calls import called
from small_words import TWO_WORDS

from lm.ngram.room import room_for
from lm.search import flat_lexicon
from storage.home import home

CLIP = next((Path(__file__).parents[3] / "w2v2cli" / "shipped").rglob("*.flac"))
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def arpa(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    path = tmp_path / "lm.arpa"
    path.write_text(TWO_WORDS)
    return path


def search_files():
    return sorted(path.name for path in (home() / "search").glob("*"))


def test_its_files_are_those_of_a_search(arpa, monkeypatch):
    told = called("lm", "compile", arpa)
    assert told.returncode == 0, told.stderr
    first, second, third = told.stderr.splitlines()
    assert first.startswith(f"{arpa}: 7 n-grams need 0.00 GB on the disk of {home() / 'search'}")
    assert second.startswith(str(home() / "search")) and second.endswith("MB.")
    assert third == f"2 words and their spellings are kept in {home() / 'search'}."
    made = search_files()
    assert sorted(name.rpartition(".")[2] for name in made) == ["automaton", "lexicon"]
    monkeypatch.setattr(flat_lexicon.FlatLexicon, "write", None)  # so nothing can be made again
    for search in ("compiled", "batched"):
        done = called("transcribe", CLIP, "--lm", arpa, "--search", search, "--device", "cpu")
        assert done.returncode == 0 and search_files() == made, done.stderr
    again = called("lm", "compile", arpa)
    assert again.returncode == 0 and again.stderr.splitlines() == [second, third]


def test_a_lexicon_is_compiled_too(arpa, tmp_path):
    (tmp_path / "words.txt").write_text("A\tA |\nBA\tB A |\n")
    told = called("lm", "compile", arpa, "--lexicon", tmp_path / "words.txt")
    assert "2 words and their spellings are kept" in told.stderr and told.returncode == 0
    made = search_files()
    args = ("--lm", arpa, "--lexicon", tmp_path / "words.txt")
    assert called("transcribe", CLIP, *args).returncode == 0 and search_files() == made


def test_a_full_disk_is_told_before_anything_is_made(arpa, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 500, 500))
    told = called("lm", "compile", arpa)
    assert told.returncode == 1 and not search_files()
    assert "has 0.00 GB left" in told.stderr and "set W2V2_HOME" in told.stderr


def test_the_size_that_is_told_is_that_of_the_file(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    for name in ("order4", "order2-prune-0-2"):
        arpa = shared_data / "lmplz" / f"{name}.arpa.gz"
        room = room_for(arpa, home() / "search")
        assert called("lm", "compile", arpa).returncode == 0
        [made] = (home() / "search").glob("*.automaton")
        assert made.stat().st_size == pytest.approx(room.disk, rel=0.05)
        assert room.free > room.disk
        made.unlink()


def test_what_needs_no_files_is_told(arpa):
    for lm in ("transformer", "none"):
        told = called("lm", "compile", lm)
        assert told.returncode == 1 and "there is nothing to make" in told.stderr, told.stderr
    missing = called("lm", "compile", arpa.with_name("gone.arpa"))
    assert missing.returncode in (1, 2) and "gone.arpa" in missing.stderr
