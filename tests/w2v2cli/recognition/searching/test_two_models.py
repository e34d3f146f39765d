"""Two language models of files, as a search process and the batched search open them."""

import pytest

from benchmarks.searches.simulation import Simulation
from lm.decoding import BeamOptions, DecodingWeights
from lm.text.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.recognition.searching.build import build_search, searched_words
from w2v2cli.recognition.searching.spec import SearchSpec

TEXT = "ONE TWO FOUR"


def arpa(path, words):
    lines = "\n".join(f"-1\t{word}" for word in words)
    path.write_text(
        f"\\data\\\nngram 1={len(words) + 3}\n\n"
        f"\\1-grams:\n-3\t<unk>\n0\t<s>\n-1\t</s>\n{lines}\n\n\\end\\\n"
    )
    return path


@pytest.fixture(scope="module")
def emission():
    return Simulation(Vocabulary.from_labels(CHARACTERS), mistaken=0.0, seed=1)([TEXT])[0]


@pytest.mark.parametrize("engine", ["compiled", "batched"])
def test_the_words_of_both_can_be_found(tmp_path, emission, engine):
    spec = SearchSpec(
        CHARACTERS,
        engine,
        arpa(tmp_path / "first.arpa", ["ONE", "TWO"]),
        spell_words=True,
        weights=DecodingWeights(1.0, 0.0, second_lm_weight=0.5),
        options=BeamOptions(50),
        cache=tmp_path / "cache",
        second=arpa(tmp_path / "second.arpa", ["TWO", "FOUR"]),
        second_words=True,
    )
    warned = []
    [[found]] = build_search(spec, warned.append)(emission[None], [len(emission)])
    assert (found.text, warned) == (TEXT, [])
    # ONE and </s>, TWO of both, FOUR unknown to the first, and the other way about.
    assert found.lm_score == pytest.approx(-1 - 1 - 3 - 1 + 0.5 * (-3 - 1 - 1 - 1))
    assert searched_words(spec) == ["ONE", "TWO", "FOUR"]
