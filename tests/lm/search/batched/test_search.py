"""The batched search against enumeration and flashlight, and its n-gram against KenLM."""

import itertools
import math

import numpy as np
import pytest
import torch
from small_words import SMALL, TRIGRAMS, enumerated, padded, random_emission, said

from lm.decoding import BeamOptions, DecodingWeights
from lm.language_model import LanguageModelError, ZeroLM
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import NgramTensors
from lm.ngram.kenlm import NgramLM
from lm.search.batched.beam import best_distinct
from lm.search.batched.search import BatchedSearch
from lm.search.flashlight import FlashlightSearch
from lm.search.setup import SearchError, prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary
from lm.transformer.config import tiny
from lm.transformer.dictionary import SPECIALS, Dictionary
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork

PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))
WIDE = BeamOptions(width=5000, threshold=1e6)
WORDS = ["A", "AB", "BA"]
SPELLINGS = {word: [word] for word in WORDS}
CPU = torch.device("cpu")


@pytest.fixture
def lexicon():
    return Lexicon.from_words(WORDS, SMALL)


def test_it_finds_the_best_of_all_word_sequences(arpa, lexicon):
    pytest.importorskip("kenlm", reason="kenlm has no build for this Python")
    weights = DecodingWeights(lm_weight=0.9, word_score=0.4, sil_score=-0.2)
    options = BeamOptions(5000, None, 1e6, nbest=5)
    emissions = [random_emission(frames, seed) for seed, frames in enumerate((6, 5, 6, 3))]
    search = BatchedSearch(prepare(SMALL, lexicon), read_automaton(arpa), weights, options)
    model = NgramLM(arpa, WORDS)
    for emission, found in zip(emissions, search.search(*padded(emissions)), strict=True):
        scores = enumerated(emission, weights, SPELLINGS, model)
        expected = sorted(scores.items(), key=lambda pair: -pair[1])[:5]
        assert [h.text for h in found] == [" ".join(words) for words, _ in expected]
        assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-3)
        assert found[0].lm_score == pytest.approx(said(model, expected[0][0]), abs=1e-4)


def same(ours, theirs) -> None:
    for [a, *_], [b, *_] in zip(ours, theirs, strict=True):
        assert [w.text for w in a.words] == [w.text for w in b.words]
        assert [(w.start, w.end) for w in a.words] == [(w.start, w.end) for w in b.words]
        assert (a.symbols, a.frames) == (b.symbols, b.frames)
        assert [a.score, a.acoustic_score, a.lm_score] == pytest.approx(
            [b.score, b.acoustic_score, b.lm_score], abs=1e-3
        )


@pytest.mark.parametrize(
    "options",
    [
        BeamOptions(3, recombine="history"),
        BeamOptions(20, recombine="history"),
        BeamOptions(50, 2, recombine="history"),
        BeamOptions(50, None, 2.5, recombine="history"),
        BeamOptions(1, recombine="history"),
    ],
)
def test_narrow_beams_find_what_flashlight_finds(arpa, lexicon, options):
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    weights = DecodingWeights(lm_weight=1.3, word_score=-0.3, sil_score=0.1)
    batch = padded(
        [random_emission(frames, seed) for seed, frames in enumerate((40, 1, 25, 40, 7))]
    )
    ours = BatchedSearch(prepare(SMALL, lexicon), read_automaton(arpa), weights, options)(*batch)
    same(ours, FlashlightSearch.open(SMALL, weights, options, lexicon, arpa)(*batch))


def test_homophones_phones_and_unknown_words_as_in_flashlight(arpa, tmp_path):
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    (tmp_path / "letters.txt").write_text("A\tA |\nAB\tA B |\nAB\tB B |\nBA\tA |\nBA\tB |\n")
    (tmp_path / "phones.txt").write_text("A\taa\nAB\taa b\nBA\tb aa\nBA\tb\n")
    for vocabulary, name, unk in (
        (SMALL, "letters", -math.inf),
        (PHONES, "phones", -math.inf),
        (SMALL, "letters", -2),
    ):
        lexicon = Lexicon.read(tmp_path / f"{name}.txt", vocabulary)
        weights = DecodingWeights(1.1, 0.3, unk_score=unk)
        batch = padded([random_emission(30, seed, len(vocabulary.symbols)) for seed in range(3)])
        options = BeamOptions(30, recombine="history")
        ours = BatchedSearch(prepare(vocabulary, lexicon), read_automaton(arpa), weights, options)(
            *batch
        )
        same(ours, FlashlightSearch.open(vocabulary, weights, options, lexicon, arpa)(*batch))


class Counted(NgramLM):
    """KenLM, counting what it is asked."""

    calls = 0

    def score(self, states, words):
        self.calls += 1
        assert len(set(zip(states, words, strict=True))) == len(words)
        return super().score(states, words)


def test_a_model_of_three_verbs_is_asked_once_a_frame_for_distinct_pairs(arpa, lexicon):
    pytest.importorskip("kenlm", reason="kenlm has no build for this Python")
    weights, batch = DecodingWeights(), padded([random_emission(30, 1), random_emission(20, 2)])
    model = Counted(arpa, [*WORDS, "<unk>"])
    search = BatchedSearch(prepare(SMALL, lexicon), model, weights, BeamOptions(50))
    model.calls = 0
    same(
        search(*batch),
        BatchedSearch(prepare(SMALL, lexicon), read_automaton(arpa), weights, BeamOptions(50))(
            *batch
        ),
    )
    assert 0 < model.calls <= 30
    with pytest.raises(LanguageModelError, match="no index for 2 of the words searched, 'BA'"):
        BatchedSearch(prepare(SMALL, lexicon), NgramLM(arpa, ["A", "AB"]), weights, WIDE)


def test_a_transformer_is_fused_in_the_first_pass(lexicon):
    torch.manual_seed(0)
    dictionary = Dictionary((*SPECIALS, *WORDS, *(f"W{i}" for i in range(1493))))
    model = TransformerLM(
        TransformerNetwork(tiny(1500)).initialize(), dictionary, [*WORDS, "<unk>"], cache_gb=1.0
    )
    weights, emission = DecodingWeights(0.7, 0.2), random_emission(6, 4)
    search = BatchedSearch(prepare(SMALL, lexicon), model, weights, BeamOptions(500, None, 1e6))
    for _ in range(2):  # what the model was told to forget does no harm the second time
        [[found]] = search(emission[None], [6])
        spoken = enumerated(emission, DecodingWeights(0, 0.2), SPELLINGS, ZeroLM(WORDS))
        totals = {words: score + 0.7 * said(model, words) for words, score in spoken.items()}
        best = max(totals, key=lambda words: totals[words])
        assert (found.text, found.score) == (" ".join(best), pytest.approx(totals[best], abs=1e-3))


def test_the_automaton_scores_as_kenlm_and_merges_the_same_states(arpa):
    pytest.importorskip("kenlm", reason="kenlm has no build for this Python")
    words = [*WORDS, "unheard"]
    model, ours = NgramLM(arpa, words), NgramTensors(read_automaton(arpa), words, CPU)
    numbers: dict[int, set[object]] = {}
    for sentence in itertools.chain.from_iterable(
        itertools.product(range(4), repeat=n) for n in range(5)
    ):
        state, theirs = ours.start(1), model.start()
        for word in sentence:
            score, state = ours.score(state, torch.tensor([word]))
            expected, theirs = model.score(theirs, [word])
            assert score.item() == pytest.approx(expected[0], abs=1e-5)
        assert ours.finish(state).item() == pytest.approx(model.finish(theirs)[0], abs=1e-5)
        numbers.setdefault(state.item(), set()).add(theirs[0])
    assert all(len(states) == 1 for states in numbers.values())
    assert len(set.union(*numbers.values())) == len(numbers)


def test_an_automaton_of_a_broken_file_is_refused(tmp_path):
    (tmp_path / "cut.arpa").write_text(TRIGRAMS[:-8])
    with pytest.raises(LanguageModelError, match="cut short"):
        read_automaton(tmp_path / "cut.arpa")
    (tmp_path / "odd.arpa").write_text(TRIGRAMS.replace("A BA\t0", "A CA\t0"))
    with pytest.raises(
        LanguageModelError, match="n-gram with the word 'CA', which is not in its unigrams"
    ):
        read_automaton(tmp_path / "odd.arpa")
    (tmp_path / "torn.arpa").write_text(TRIGRAMS.replace("A AB A", "A A A"))
    with pytest.raises(
        LanguageModelError, match="n-gram 'A A A' but not the context of its last word"
    ):
        read_automaton(tmp_path / "torn.arpa")


def test_nothing_to_search(lexicon):
    search = BatchedSearch(prepare(SMALL, lexicon), None, DecodingWeights(), WIDE)
    assert [found.text for [found] in search(np.zeros((2, 4, 4), np.float32), [0, 0])] == ["", ""]
    assert search(np.zeros((0, 4, 4), np.float32), []) == []
    with pytest.raises(ValueError, match="over 4 symbols was expected"):
        search(np.zeros((1, 3, 32), np.float32), [3])
    with pytest.raises(SearchError, match="The lexicon holds no word"):
        BatchedSearch(prepare(SMALL, Lexicon({})), None, DecodingWeights(), WIDE)


def test_the_best_of_each_key():
    low = -math.inf
    scores = torch.tensor([[1.0, 5.0, 4.0, 2.0, 0.0, 4.0], [low, 3.0, low, 3.0, 1.0, low]])
    keys = torch.tensor([[7, 3, 7, 3, 9, 8], [1, 2, 3, 4, 2, 5]])
    places, best, count = best_distinct(scores, keys, 3)
    assert best.tolist() == [[5.0, 4.0, 4.0], [3.0, 3.0, low]]
    assert (places[0].tolist(), places[1, :2].tolist()) == ([1, 2, 5], [1, 3])
    assert count.tolist() == [[4], [2]]
