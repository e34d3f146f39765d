"""The compiled n-gram model against KenLM, on models of ours and of lmplz; and broken files."""

import gzip
import itertools
import random
import shutil

import numpy as np
import pytest

from lm.language_model import LanguageModelError
from lm.ngram.arpa import ArpaError, check_end, read_counts, read_unigrams
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.ngram.kenlm import NgramLM
from lm.rescoring import sentence_scores


def compare(path, cache, sentences) -> None:
    """Compare the scores of words and ends, and which histories share a state, with KenLM's."""
    pytest.importorskip("kenlm", reason="kenlm has no build for this Python")
    theirs, ours = NgramLM(path), None
    words = [*theirs.words, "never-heard"]
    theirs, ours = NgramLM(path, words), CompiledNgramLM(automaton_file(path, cache), words)
    index = {word: i for i, word in enumerate(words)}
    merged: dict[object, set[object]] = {}
    for sentence in sentences:
        [a], [b] = ours.start(), theirs.start()
        for word in sentence:
            number = index.get(word, len(words) - 1)
            (score,), [a] = ours.score([a], [number])
            (expected,), [b] = theirs.score([b], [number])
            assert score == pytest.approx(expected, abs=1e-5)
        assert ours.finish([a]) == pytest.approx(theirs.finish([b]), abs=1e-5)
        merged.setdefault(a, set()).add(b)
    assert all(len(states) == 1 for states in merged.values())


def test_it_scores_as_kenlm(arpa, tmp_path):
    words = sorted(read_unigrams(arpa))
    draw = random.Random(0)
    compare(
        arpa, tmp_path / "cache", [draw.choices(words, k=draw.randint(0, 8)) for _ in range(300)]
    )


@pytest.mark.parametrize(
    "name", ["order4", "order4-prune-0-0-1-1", "order2-prune-0-2", "tiny-order3-fallback"]
)
def test_it_scores_as_kenlm_on_models_of_lmplz(shared_data, tmp_path, name):
    lines = (shared_data / "lmplz" / "text.txt").read_text().splitlines()[:150]
    compare(shared_data / "lmplz" / f"{name}.arpa.gz", tmp_path, [line.split() for line in lines])


def test_gzip_and_other_line_ends_are_the_same_model(arpa, tmp_path):
    words = ["the", "cat", "dog"]
    plain = CompiledNgramLM(automaton_file(arpa, tmp_path / "a"), words)
    (tmp_path / "z.arpa.gz").write_bytes(gzip.compress(arpa.read_bytes()))
    (tmp_path / "dos.arpa").write_bytes(arpa.read_bytes().replace(b"\n", b"\r\n"))
    for name in ("z.arpa.gz", "dos.arpa"):
        other = CompiledNgramLM(
            automaton_file(tmp_path / name, tmp_path / name.replace(".", "-")), words
        )
        for sentence in itertools.product(range(3), repeat=3):
            assert sentence_scores(other, [sentence])[0] == sentence_scores(plain, [sentence])[0]


def test_a_model_without_unk_gives_unknown_words_next_to_nothing(arpa, tmp_path):
    lines = [line for line in arpa.read_text().splitlines() if "<unk>" not in line]
    count = sum("\t" in line for line in lines[: lines.index("\\2-grams:")])
    lines[1] = f"ngram 1={count}"
    (tmp_path / "known.arpa").write_text("\n".join(lines) + "\n")
    model = CompiledNgramLM(
        automaton_file(tmp_path / "known.arpa", tmp_path), ["cat", "never-heard"]
    )
    assert not model.has_unknown
    assert model.score(model.start(), [1])[0][0] <= -99


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda text: text[: len(text) // 2], "cut short|ends"),
        (lambda text: text.replace("\\end\\", ""), "cut short|ends"),
        (lambda text: text.replace("ngram 2=", "ngram 2=1"), "ngram 2|2-grams"),
        (lambda text: "", "ARPA|empty|cut short|ends"),
        (lambda text: "hello\nworld\n", "ARPA|ends|cut short"),
    ],
)
def test_a_broken_file_is_refused_in_a_sentence_and_leaves_nothing(arpa, tmp_path, broken, told):
    path = tmp_path / "broken.arpa"
    path.write_text(broken(arpa.read_text()))
    cache = tmp_path / "cache"
    with pytest.raises(ArpaError, match=told) as refused:
        automaton_file(path, cache)
    assert str(path) in str(refused.value) and str(refused.value).endswith(".")
    assert not list(cache.glob("*.automaton")) and not list(cache.glob("*.part"))
    with pytest.raises(LanguageModelError):
        automaton_file(tmp_path / "gone.arpa", cache)


def test_a_gzip_cut_short_is_refused(arpa, tmp_path):
    path = tmp_path / "cut.arpa.gz"
    path.write_bytes(gzip.compress(arpa.read_bytes())[:-40])
    with pytest.raises(ArpaError, match="cut short or damaged"):
        automaton_file(path, tmp_path / "cache")


def test_damaged_bytes_of_a_gzip_are_refused_by_all_readers(arpa, tmp_path):
    content = bytearray(gzip.compress(arpa.read_bytes()))
    content[10:] = b"\xff" * (len(content) - 10)  # after the header no block is of this kind
    path = tmp_path / "damaged.arpa.gz"
    path.write_bytes(content)
    for read in (read_counts, check_end, lambda p: automaton_file(p, tmp_path / "cache")):
        with pytest.raises(ArpaError, match="cut short or damaged"):
            read(path)


def test_a_damaged_automaton_is_refused_and_never_read_past_its_end(arpa, tmp_path):
    made = automaton_file(arpa, tmp_path / "cache")
    whole = made.read_bytes()
    draw = np.random.default_rng(0)
    for size in (0, 7, 64, len(whole) // 2, len(whole) - 1):
        made.write_bytes(whole[:size])
        with pytest.raises(LanguageModelError, match="cannot be used"):
            CompiledNgramLM(made, ["cat"])
    made.write_bytes(draw.bytes(len(whole)))
    with pytest.raises(LanguageModelError, match="cannot be used"):
        CompiledNgramLM(made, ["cat"])


def test_words_of_any_characters_are_looked_up_alone(arpa, tmp_path):
    words = ["cat", "c\0at", "the\ncat", "", "\0", "the"]
    model = CompiledNgramLM(automaton_file(arpa, tmp_path / "cache"), words)
    assert (model.indices != 0).tolist() == [True, False, False, False, False, True]
    assert (model.lookup(["cat"])[0], model.lookup(["the"])[0]) == tuple(model.indices[[0, 5]])


def test_another_content_under_the_same_name_is_another_automaton(arpa, tmp_path):
    first = automaton_file(arpa, tmp_path / "cache")
    shutil.copy(arpa, tmp_path / "copy.arpa")
    assert automaton_file(tmp_path / "copy.arpa", tmp_path / "cache") == first
    arpa.write_text(arpa.read_text().replace("-0.", "-1.", 1))
    assert automaton_file(arpa, tmp_path / "cache") != first
