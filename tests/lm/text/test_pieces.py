"""Word pieces: learned, spelled and searched for, against sentencepiece and enumeration."""

import itertools
import json
import math
import pickle
import sys

import numpy as np
import pytest
from small_words import BIGRAMS

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.kenlm import NgramLM
from lm.search.flashlight import FlashlightSearch
from lm.text.lexicon import Lexicon, LexiconError
from lm.text.pieces import MARK, PieceModel, PiecesError, train_pieces, words_of
from lm.text.vocabulary import SpellingError, Vocabulary

TEXTS = [
    "the cat sat on the mat",
    "a dog saw the cat, and ran",
    "The mat ran away from that dog!",
    "that cat sat there then",
    "they gather there and then they scatter",
    "the other weather",
    "another mother gathers feathers",
]
TINY = Vocabulary.from_labels(("<pad>", f"{MARK}A", f"{MARK}B", "B", "A"))
WIDE = BeamOptions(width=5000, threshold=1e9)


@pytest.fixture(scope="module")
def model() -> PieceModel:
    pytest.importorskip("sentencepiece")
    return train_pieces(TEXTS, 32)


@pytest.fixture
def vocabulary(model) -> Vocabulary:
    return Vocabulary.from_labels(model.labels(), piece_model=model)


def test_as_many_pieces_as_asked_for_and_the_same_again(model):
    labels = model.labels()
    assert len(labels) == len(set(labels)) == 33 and labels[0] == "<pad>"
    characters = set("".join(TEXTS).upper()) - set(" ,!")
    assert characters < set(labels) and MARK in labels  # so every word can be spelled
    assert train_pieces(iter(TEXTS), 32).proto == model.proto


def test_transcripts_are_spelled_as_sentencepiece_spells_sentences(model, vocabulary):
    import sentencepiece

    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.proto)
    for text in ["THE CAT GATHERED WEATHER", "A", "THERE THERE"]:
        ids = vocabulary.transcript_ids(text.lower() + ".")
        assert [vocabulary.symbols[i] for i in ids] == theirs.encode(text, out_type=str)
        assert vocabulary.text(ids) == text
    assert len(vocabulary.spell("THE")) < 3
    with pytest.raises(SpellingError, match="no 'ZIP' to spell 'ZIP' with"):
        vocabulary.transcript_ids("the zip")


def test_a_checkpoint_carries_all_that_is_needed(vocabulary):
    kept = json.loads(json.dumps(vocabulary.metadata))
    again = Vocabulary.from_metadata(vocabulary.symbols, kept)
    assert again == vocabulary and again.units == "pieces"
    assert again.spell("GATHER") == vocabulary.spell("GATHER")
    assert pickle.loads(pickle.dumps(again)).spell("GATHER") == vocabulary.spell("GATHER")
    without = Vocabulary.from_labels(vocabulary.symbols)
    assert without.text(vocabulary.transcript_ids("the cat")) == "THE CAT"
    with pytest.raises(
        SpellingError, match="'THE' cannot be cut into pieces: the model that cuts them is not in"
    ):
        without.spell("THE")


def test_requests_that_cannot_be_met(model):
    with pytest.raises(
        PiecesError,
        match="5 word pieces are too few: the texts have",
    ):
        train_pieces(TEXTS, 5)
    with pytest.raises(
        PiecesError, match=r"9999 word pieces cannot be learned from 7 sentences: at most \d+ are"
    ) as told:
        train_pieces(TEXTS, 9999)
    most = int(str(told.value).split("at most ")[1].split()[0])
    assert len(train_pieces(TEXTS, most).labels()) == most + 1
    with pytest.raises(PiecesError, match="no text to learn"):
        train_pieces(["", "!"], 10)
    with pytest.raises(PiecesError, match="sentencepiece cannot read it"):
        PieceModel(b"nonsense").labels()
    with pytest.raises(PiecesError, match="it is not base64"):
        PieceModel.from_text("%%%")
    with pytest.raises(ValueError, match="must be one of characters, phones, pieces, got 'bytes'"):
        Vocabulary.from_metadata(model.labels(), {"units": "bytes"})


def test_without_sentencepiece_pieces_are_read_but_not_spelled(monkeypatch, model):
    labels = model.labels()
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    vocabulary = Vocabulary.from_labels(labels, piece_model=PieceModel(model.proto))
    assert vocabulary.text([vocabulary.index[MARK], vocabulary.index["A"]]) == "A"
    for needs_it in (lambda: vocabulary.spell("THE"), lambda: train_pieces(TEXTS, 32)):
        with pytest.raises(PiecesError, match=r"need sentencepiece: pip install 'w2v2\[pieces\]'"):
            needs_it()


def test_pieces_make_words():
    assert words_of([f"{MARK}TH", "E", MARK, "C", "AT", MARK]) == "THE CAT"


def test_a_lexicon_of_pieces(model, vocabulary):
    lexicon = Lexicon.from_words(["GATHER", "ЙЦУ", "THE"], vocabulary)
    assert lexicon.spellings == {word: (vocabulary.spell(word),) for word in ("GATHER", "THE")}
    assert lexicon.unspellable == ("ЙЦУ",)
    several = Lexicon.from_words(["GATHER", "ЙЦУ"], vocabulary, count=3)
    assert several.unspellable == ("ЙЦУ",) and len(several.spellings["GATHER"]) == 3
    assert several.spellings["GATHER"][0] == vocabulary.spell("GATHER")
    assert {vocabulary.text(ids) for ids in several.spellings["GATHER"]} == {"GATHER"}
    with pytest.raises(LexiconError, match="Words cannot be cut into pieces"):
        Lexicon.from_words(["THE"], Vocabulary.from_labels(vocabulary.symbols))
    with pytest.raises(LexiconError, match="give a lexicon that lists their phones .--lexicon"):
        Lexicon.from_words(["THE"], Vocabulary.from_labels(("<pad>", "aa", "b")))


def by_enumeration(
    emission: np.ndarray, lexicon: Lexicon, weights: DecodingWeights, model: NgramLM | None
):
    """(score, words) of every word sequence, best first, over all its paths.

    The last symbol of a word lasts one frame, or a blank or the end of the utterance follows it.
    """
    said: dict[tuple[tuple[int, bool], ...], float] = {}
    for path in itertools.product(range(emission.shape[1]), repeat=len(emission)):
        runs = [(symbol, len(list(frames))) for symbol, frames in itertools.groupby(path)]
        free = [
            n == 1 or i + 1 == len(runs) or runs[i + 1][0] == 0 for i, (_, n) in enumerate(runs)
        ]
        spoken = tuple(
            (symbol, end) for (symbol, _), end in zip(runs, free, strict=True) if symbol != 0
        )
        said[spoken] = max(
            said.get(spoken, -math.inf),
            float(emission[range(len(path)), path].sum(dtype=np.float64)),
        )
    best: dict[tuple[str, ...], float] = {}
    for spoken, score in said.items():
        for words in readings(spoken, lexicon):
            best[words] = max(best.get(words, -math.inf), score)
    totals = []
    for words, score in best.items():
        language = 0.0
        if model is not None:
            states = model.start()
            for word in words:
                scores, states = model.score(states, [model.words.index(word)])
                language += scores[0]
            language += model.finish(states)[0]
        totals.append(
            (score + weights.word_score * len(words) + weights.lm_weight * language, words)
        )
    return sorted(totals, reverse=True)


def readings(spoken, lexicon):
    if not spoken:
        yield ()
    for word, spellings in lexicon.spellings.items():
        for spelling in spellings:
            n = len(spelling)
            if tuple(symbol for symbol, _ in spoken[:n]) == spelling and spoken[n - 1][1]:
                for rest in readings(spoken[n:], lexicon):
                    yield (word, *rest)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "listed",
    [f"A\t{MARK}A\nAB\t{MARK}A B\nBA\t{MARK}B A\nBA\t{MARK}B B\n", "A\tA\nAB\tA B\nBA\tB A\n"],
)
def test_the_lexicon_search_finds_the_best_of_all_word_sequences(tmp_path, listed, seed):
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    (tmp_path / "lm.arpa").write_text(BIGRAMS)
    (tmp_path / "lexicon.txt").write_text(listed)
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", TINY)
    random = np.random.default_rng(seed)
    weights = DecodingWeights(0.9, random.uniform(-1, 1), sil_score=random.uniform(-1, 1))
    logits = random.normal(0, 2, (5, 5))
    emission = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    [[found]] = FlashlightSearch.open(TINY, weights, WIDE, lexicon, tmp_path / "lm.arpa")(
        emission[None], [5]
    )
    score, words = by_enumeration(emission, lexicon, weights, NgramLM(tmp_path / "lm.arpa"))[0]
    assert (tuple(found.text.split()), found.score) == (words, pytest.approx(score, abs=1e-3))


def test_symbols_that_last_times_and_confidence(tmp_path):
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    lexicon = Lexicon({"A": ((1,),), "AB": ((1, 3),)})
    emission = np.full((9, 5), -6.0, np.float32)
    emission[range(9), [0, 1, 3, 3, 0, 1, 0, 1, 1]] = -0.1
    [[found]] = FlashlightSearch.open(TINY, DecodingWeights(0, 0), WIDE, lexicon)(
        emission[None], [9]
    )
    assert [(w.text, w.start, w.end) for w in found.words] == [
        ("AB", 1, 4),
        ("A", 5, 6),
        ("A", 7, 9),
    ]
    assert [w.confidence for w in found.words] == pytest.approx([math.exp(-0.1)] * 3)
    assert found.score == found.acoustic_score == pytest.approx(-0.9)
    assert (found.symbols, found.frames) == ((1, 3, 1, 1), (1, 2, 5, 7))
