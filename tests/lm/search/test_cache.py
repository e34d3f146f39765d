"""Searches with a cache find what they find without it, whatever happens to the cache."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from damage import mutated
from small_words import BIGRAMS

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram import checksum
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.searching.spec import SearchSpec

ROOT = Path(__file__).parents[3]
LABELS = ("<pad>", "|", "A", "B")
LEXICON = "A\tA |\nAB\tA B |\nBA\tB A |\n"
AT_ONCE = """
import sys
from pathlib import Path
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.searching.spec import SearchSpec
import lm.search.compiled
lm_path, lexicon, cache = map(Path, sys.argv[1:])
print("imported", flush=True)
sys.stdin.readline()
warnings = []
spec = SearchSpec(("<pad>", "|", "A", "B"), "compiled", lm_path, lexicon, cache=cache)
build_search(spec, warnings.append)
print(warnings, flush=True)
"""

UNCHECKED = """
import random
import sys
from pathlib import Path
from damage import mutated
import numpy as np
from lm.decoding import BeamOptions, DecodingWeights
from lm.language_model import LanguageModelError
from lm.ngram.automaton import CompiledNgramLM
from lm.search.compiled import CompiledSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary
whole, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
vocabulary = Vocabulary.from_labels(("<pad>", "|", "A", "B"))
setup = prepare(vocabulary, Lexicon.from_words(["A", "AB", "BA"], vocabulary))
emissions = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (1, 20))).astype(np.float32)
draw, opened, refused = random.Random(0), 0, 0
for _ in range(500):
    path.unlink(missing_ok=True)
    path.write_bytes(mutated(whole, draw))
    try:
        model = CompiledNgramLM(path, setup.words)
    except LanguageModelError:
        refused += 1
        continue
    opened += 1
    weights, options = DecodingWeights(1.0, 0.0), BeamOptions(50, nbest=10)
    CompiledSearch(setup, model, weights, options)(emissions, [20])
    model.finish(list(range(100)))
print(opened, refused)
"""


@pytest.fixture
def spec(tmp_path):
    """What makes searches of the files above."""
    (tmp_path / "lm.arpa").write_text(BIGRAMS)
    (tmp_path / "lexicon.txt").write_text(LEXICON)

    def made(labels=LABELS, cache=tmp_path / "cache", **more):
        files = {"lm": tmp_path / "lm.arpa", "lexicon": tmp_path / "lexicon.txt"} | more
        return SearchSpec(
            labels,
            "compiled",
            cache=cache,
            weights=DecodingWeights(1.0, 0.0),
            options=BeamOptions(50, nbest=10),
            **files,
        )

    return made


def found(spec: SearchSpec):
    """All that a search finds in a few emissions, and its warnings."""
    warnings = []
    search = build_search(spec, warnings.append)
    emissions = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (3, 20))).astype(np.float32)
    return search(emissions, [20, 17, 5], None), warnings


def kept(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "more", [{}, {"lexicon": None, "spell_words": True}, {"hotwords": {"BB": 2.0}}]
)
def test_the_second_use_finds_what_the_first_did(spec, tmp_path, more):
    first = found(spec(**more))
    before = kept(tmp_path / "cache")
    assert {name.rpartition(".")[2] for name in before} == {"automaton", "lexicon"}
    assert found(spec(**more)) == first == found(spec(cache=tmp_path / "other", **more))
    assert kept(tmp_path / "cache") == before
    assert first[1] == []


@pytest.mark.parametrize("suffix", ["automaton", "lexicon"])
@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: whole[:100], lambda whole: whole[:-1]]
)
def test_a_file_cut_short_is_made_again(spec, tmp_path, suffix, damage):
    first = found(spec())
    before = kept(tmp_path / "cache")
    [path] = (tmp_path / "cache").glob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert found(spec()) == first
    assert kept(tmp_path / "cache") == before


@pytest.mark.parametrize("suffix", ["automaton", "lexicon"])
def test_a_damaged_file_is_made_again(spec, tmp_path, suffix):
    first, draw = found(spec()), random.Random(0)
    before = kept(tmp_path / "cache")
    [path] = (tmp_path / "cache").glob(f"*.{suffix}")
    whole = path.read_bytes()
    for _ in range(100):
        path.write_bytes(mutated(whole, draw))
        assert found(spec()) == first
        assert suffix == "lexicon" or kept(tmp_path / "cache") == before


def test_damage_that_no_checksum_shows_ends_in_a_sentence_or_a_search(spec, tmp_path):
    found(spec())
    [path] = (tmp_path / "cache").glob("*.automaton")
    call = [sys.executable, "-c", UNCHECKED, str(path), str(tmp_path / "mutated")]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        call, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr
    opened, refused = map(int, done.stdout.split())
    assert opened > 100 and refused > 100 and opened + refused == 500


def test_the_fuzzing_script_finds_no_fault_in_a_few_mutations():
    call = [sys.executable, "-m", "scripts.fuzz_caches", "--mutations", "6", "--seed", "7"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_large_automaton_is_checked_once_while_it_stays_the_same(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("storage.hashing.REMEMBERED", 1)
    first, asked = found(spec()), []
    holds = checksum._holds
    monkeypatch.setattr(checksum, "_holds", lambda path: asked.append(path) or holds(path))
    assert found(spec()) == found(spec()) == first
    [path] = (tmp_path / "cache").glob("*.automaton")
    assert asked == [path]
    before = path.read_bytes()
    path.write_bytes(bytes(len(before)))
    assert found(spec()) == first and path.read_bytes() == before
    assert asked == [path] * 2


def test_other_files_and_labels_are_other_entries(spec, tmp_path):
    first = found(spec())
    (tmp_path / "other.txt").write_text(LEXICON.replace("AB\tA B", "AB\tB B"))
    (tmp_path / "other.arpa").write_text(BIGRAMS.replace("-0.2\tAB A", "-2.2\tAB A"))
    swapped = ("<pad>", "|", "B", "A")
    others = [
        {"lexicon": tmp_path / "other.txt"},
        {"lm": tmp_path / "other.arpa"},
        {"labels": swapped},
    ]
    for number, other in enumerate(others):
        assert (
            found(spec(**other))
            == found(spec(cache=tmp_path / f"fresh-{number}", **other))
            != first
        )
    assert len(list((tmp_path / "cache").glob("*.lexicon"))) == 3
    assert len(list((tmp_path / "cache").glob("*.automaton"))) == 2
    assert found(spec()) == first


def test_two_processes_that_start_at_once_leave_whole_files(spec, tmp_path):
    files = [str(tmp_path / name) for name in ("lm.arpa", "lexicon.txt", "cache")]
    call = [sys.executable, "-c", AT_ONCE, *files]
    both = [
        subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "imported\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in both] == ["[]\n"] * 2
    before = kept(tmp_path / "cache")
    assert not any(name.endswith(".part") for name in before)
    assert found(spec()) == found(spec(cache=tmp_path / "fresh"))
    assert kept(tmp_path / "cache") == before


def test_a_folder_that_cannot_be_written_costs_no_search(spec, tmp_path):
    (tmp_path / "file").write_text("")
    hypotheses, told = found(spec(cache=tmp_path / "file" / "cache"))
    assert hypotheses == found(spec())[0]
    assert len(told) == 2 and all("Not a directory" in sentence for sentence in told)


def test_what_nobody_reads_goes_when_a_new_automaton_comes(spec, tmp_path):
    first = found(spec())
    old = time.time() - 91 * 86_400
    [automaton] = (tmp_path / "cache").glob("*.automaton")
    os.utime(automaton, (old, old))
    abandoned, foreign = (
        tmp_path / "cache" / ".x.automaton.7.part",
        tmp_path / "cache" / "notes.txt",
    )
    older_version, still_read = tmp_path / "cache" / "a-2.arrays", tmp_path / "cache" / "b-2.arrays"
    older_version.mkdir()
    still_read.mkdir()
    (still_read / "scores.npy").write_text("")
    for path in (abandoned, foreign, older_version / "keys.npy", still_read / "keys.npy"):
        path.write_text("")
        os.utime(path, (old, old))
    assert found(spec()) == first  # it is read, so it stays
    (tmp_path / "other.arpa").write_text(BIGRAMS.replace("-0.2\tAB A", "-2.2\tAB A"))
    found(spec(lm=tmp_path / "other.arpa"))
    assert automaton.exists() and foreign.exists() and not abandoned.exists()
    assert still_read.exists() and not older_version.exists()
    os.utime(automaton, (old, old))
    (tmp_path / "third.arpa").write_text(BIGRAMS.replace("-0.2\tAB A", "-3.2\tAB A"))
    found(spec(lm=tmp_path / "third.arpa"))
    assert not automaton.exists()
    assert found(spec()) == first
