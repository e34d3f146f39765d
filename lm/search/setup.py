"""One set-up for every engine: what is searched, and what the user should know of the files.

`prepare` brings lexicon, hot words and language model together once. An engine takes the
`SearchSetup` that it returns and the opened model; it checks nothing and warns of nothing itself.
Legend: W words, R spellings, T frames, V symbols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from lm.decoding import FLOOR
from lm.language_model import UNK
from lm.search.flat_lexicon import FlatLexicon
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

IMPOSSIBLE = -1e9  # log-probability: scores are added up, which infinity would turn into NaN
FEWEST_SPELLED = 0.9  # share of the lexicon that the alphabet should spell
FEWEST_KNOWN = 0.9  # share of the lexicon that the language model should know
STRANGERS = 0.01  # share that chance explains: lexicon and model have nothing in common
PROBES = 20  # words looked up in the other case, to name the case where that is all that differs
EXAMPLES = 5  # words that a message quotes


class SearchError(ValueError):
    """A search that cannot be set up from what it was given."""


class ModelFile(Protocol):
    """A language model file, as `prepare` opens it over the words of a search."""

    @property
    def path(self) -> Path:
        """The file, for messages."""

    def open(self, words: Sequence[str]) -> list[str]:
        """Open the model over `words`, in the order of their indices, and return warnings."""

    def knows(self, words: Sequence[str]) -> Sequence[bool]:
        """For each word whether the opened model has it.

        The words are those that it was opened over, or some of their `other_case`.
        """


@dataclass(frozen=True)
class SearchSetup:
    """What an engine searches; `prepare` makes it."""

    vocabulary: Vocabulary
    words: Sequence[str]
    """(W,) the word of each index. The last one is <unk>, for words outside the lexicon."""
    lexicon: FlatLexicon | None
    """Spellings of all words but <unk>, hot words included; None to search over symbols."""
    hotwords: Mapping[str, float] = field(default_factory=dict)
    """Added to the score each time a word, or a phrase of several, is said."""
    warnings: tuple[str, ...] = ()
    """What the user should know of the files, in sentences."""
    lacking: tuple[int, ...] = ()
    """Words of hot words and phrases that the language model lacks."""
    floor: float = FLOOR
    """log10 p that the language model's score of those may not fall below."""

    @property
    def silence(self) -> int:
        """The symbol between words. Phones and pieces have none: there the blank serves."""
        boundary = self.vocabulary.word_boundary
        return self.vocabulary.blank if boundary is None else boundary

    @property
    def ends_with_blank(self) -> bool:
        """Whether words end on a blank.

        Without a boundary symbol a word ends with its last symbol or with the first blank after
        it. Every word is spelled both ways, so that its last symbol may last several frames.
        """
        return self.lexicon is not None and self.vocabulary.word_boundary is None

    @property
    def phrases(self) -> list[str]:
        """The hot words that are several words."""
        return [phrase for phrase in self.hotwords if " " in phrase]

    @property
    def favoured(self) -> list[tuple[list[int], float]]:
        """The indices of the words of each hot word and phrase, and its bonus.

        Those with a word that has no spelling are left out.
        """
        index = {word: i for i, word in enumerate(self.words)} if self.hotwords else {}
        said = ((phrase.split(), bonus) for phrase, bonus in self.hotwords.items())
        return [
            ([index[word] for word in words], bonus)
            for words, bonus in said
            if all(word in index for word in words)
        ]

    @property
    def floors(self) -> np.ndarray | None:
        """(W,) float64 log10 p that a word's score may not fall below; None without any floor.

        It is minus infinity for most words.
        """
        if not self.lacking or self.floor == -np.inf:
            return None
        floors = np.full(len(self.words), -np.inf)
        floors[list(self.lacking)] = self.floor
        return floors

    @property
    def bonuses(self) -> np.ndarray:
        """(W,) float64, what is added to the score for each word.

        With phrases: what is at most added or promised for it at the beginning of a phrase.
        """
        first: dict[str, float] = {}
        for phrase in self.phrases:
            word, *rest = phrase.split()
            first[word] = max(first.get(word, 0.0), self.hotwords[phrase] / (len(rest) + 1))
        alone = self.hotwords.get
        return np.array(
            [alone(word, 0.0) + first.get(word, 0.0) for word in self.words], np.float64
        )

    def spellings(self) -> FlatLexicon:
        """The spellings to search for: with `ends_with_blank` each is followed by its twin."""
        assert self.lexicon is not None
        if not self.ends_with_blank:
            return self.lexicon
        return self.lexicon.with_twins(self.vocabulary.blank)

    def searched(self, frames: np.ndarray) -> np.ndarray:
        """(T, V) log-probabilities -> what an engine reads.

        With `ends_with_blank` that is (T + 1, V): a certain blank after the utterance, so that a
        last symbol that lasts to its end still ends a word. No frames stay none.
        """
        if not self.ends_with_blank or not len(frames):
            return frames
        after = np.full((1, frames.shape[1]), IMPOSSIBLE, np.float32)
        after[0, self.vocabulary.blank] = 0.0
        return np.concatenate([frames, after])

    def sil_score(self, sil_score: float) -> float:
        """The silence score that applies: blanks between words are not boundary frames."""
        return 0.0 if self.ends_with_blank else sil_score

    def text(self, word: int) -> str | None:
        """The word of an index; None for <unk>, whose text is what its letters spell."""
        return None if word == len(self.words) - 1 else self.words[word]


def prepare(
    vocabulary: Vocabulary,
    lexicon: Lexicon | FlatLexicon | None,
    model: ModelFile | None = None,
    hotwords: Mapping[str, float] | None = None,
    most_homophones: int | None = None,
    floor: float = FLOOR,
) -> SearchSetup:
    """Hold the parts of a search against each other, and open the language model over its words.

    lexicon: None searches over symbols, with a language model of symbols.
    hotwords: bonuses by word or phrase; words outside the lexicon join it, spelled by the alphabet.
    most_homophones: how many words of one spelling the engine can hold; None for any number.
    floor: log10 p that the model's score of a hot word that it lacks may not fall below.

    Raises SearchError when the parts do not belong together, LexiconError for a hot word of phones,
    and what `model.open` raises.
    """
    if lexicon is None:
        return _over_symbols(vocabulary, model)
    own = lexicon if isinstance(lexicon, FlatLexicon) else FlatLexicon.of(lexicon)
    hotwords = hotwords or {}
    warnings = _check_spelling(own, vocabulary)
    every, unspelled = _with_hotwords(own, hotwords, vocabulary)
    warnings += unspelled
    if most_homophones is not None:
        warnings += _check_homophones(every, most_homophones)
    words = [*every.words, UNK]
    if model is not None:
        warnings += model.open(words)
        warnings += _check_words(model, words, len(own))
    lacking = () if model is None else _lacking(model, words, hotwords)
    return SearchSetup(vocabulary, words, every, hotwords, tuple(warnings), lacking, floor)


def other_case(words: Sequence[str]) -> list[str]:
    """The shortest of `words` in the other case, without those that are words themselves."""
    known = set(words)
    shortest = sorted((word for word in words if word != UNK), key=len)[:PROBES]
    probes = [word.swapcase() for word in shortest]
    return [word for word in dict.fromkeys(probes) if word not in known]


def _over_symbols(vocabulary: Vocabulary, model: ModelFile | None) -> SearchSetup:
    """The set-up of a search without a lexicon: its words are the symbols."""
    symbols = list(vocabulary.symbols)
    words = symbols if UNK in symbols else [*symbols, UNK]
    warnings: list[str] = []
    if model is not None:
        warnings += model.open(words)
        known = dict(zip(words, model.knows(words), strict=True))
        letters = sorted(vocabulary.letters)
        missing = [letter for letter in letters if not known[letter]]
        if len(missing) > len(letters) * (1 - FEWEST_KNOWN):
            raise SearchError(
                f"Without a lexicon the language model is one of symbols, but {model.path} does "
                f"not know {len(missing)} of the alphabet's {len(letters)}, {_quoted(missing)} "
                "for example: give a lexicon."
            )
    return SearchSetup(vocabulary, words, None, warnings=tuple(warnings))


def _with_hotwords(
    lexicon: FlatLexicon, hotwords: Mapping[str, float], vocabulary: Vocabulary
) -> tuple[FlatLexicon, list[str]]:
    """The lexicon with the hot words that it lacks, and a warning for each that has no spelling."""
    known = set(lexicon.words) if hotwords else set()
    said = dict.fromkeys(word for phrase in hotwords for word in phrase.split())
    new = [word for word in said if word not in known]
    if not new:
        return lexicon, []
    added = FlatLexicon.of(Lexicon.from_words(new, vocabulary))
    every = FlatLexicon(
        [*lexicon.words, *added.words],
        np.concatenate([lexicon.symbols, added.symbols]),
        np.concatenate([lexicon.ends, added.ends + np.uint64(len(lexicon.symbols))]),
        np.concatenate([lexicon.owners, added.owners + np.int32(len(lexicon))]),
        lexicon.unspellable,
    )
    return every, [
        f"The hot word {word!r} cannot be spelled in the model's alphabet."
        for word in added.unspellable
    ]


def _lacking(
    model: ModelFile, words: Sequence[str], hotwords: Mapping[str, float]
) -> tuple[int, ...]:
    """The indices of hot words, those of phrases too, that the opened model lacks."""
    if not hotwords:
        return ()
    said = {word for phrase in hotwords for word in phrase.split()}
    known = model.knows(words)
    return tuple(i for i, word in enumerate(words) if word in said and not known[i])


def _check_spelling(lexicon: FlatLexicon, vocabulary: Vocabulary) -> list[str]:
    """Hold the lexicon against the alphabet: warnings, or SearchError where no word is spelled."""
    left_out = lexicon.unspellable
    if not len(lexicon):
        alphabet = " ".join(sorted(vocabulary.letters))
        if not left_out:
            raise SearchError("The lexicon holds no word.")
        other = [word for word in left_out if vocabulary.can_spell([word.swapcase()])]
        why = (
            f"; it could spell {other[0].swapcase()!r}: the letters differ in case" if other else ""
        )
        raise SearchError(
            f"The model's alphabet ({alphabet}) can spell none of the lexicon's {len(left_out)} "
            f"words, {_quoted(left_out)} for example{why}."
        )
    told = []
    if respelled := lexicon.respelled:
        examples = ", ".join(
            f"{word!r} as {vocabulary.written(word)!r}" for word in respelled[:EXAMPLES]
        )
        told.append(
            f"{len(respelled)} of the language model's words are spelled as the model's "
            f"transcripts are, {examples} for example."
        )
    if not left_out:
        return told
    share = len(left_out) / (len(left_out) + len(lexicon))
    mixed_up = ": do model and lexicon belong together?" if share > 1 - FEWEST_SPELLED else "."
    return [
        *told,
        f"{len(left_out)} of the lexicon's words ({share:.1%}) cannot be spelled in the model's "
        f"alphabet and are left out, {_quoted(left_out)} for example{mixed_up}",
    ]


def _check_homophones(lexicon: FlatLexicon, most: int) -> list[str]:
    """A warning where more than `most` words share a spelling: the later ones are never found."""
    held: Counter[tuple[int, ...]] = Counter()
    lost: list[str] = []
    for spelling, word in lexicon.rows():
        held[spelling] += 1
        if held[spelling] > most:
            lost.append(lexicon.words[word])
    if not lost:
        return []
    return [
        f"This search keeps {most} words of one spelling and leaves {len(lost)} out, "
        f"{_quoted(lost)} for example: --search compiled keeps all."
    ]


def _check_words(model: ModelFile, words: Sequence[str], own: int) -> list[str]:
    """Hold the lexicon against the language model: warnings, or SearchError for strangers.

    words: those that the model was opened over; the first `own` are the lexicon's, without hot
    words.
    """
    known = np.asarray(model.knows(words), bool)[:own]
    share = float(known.mean())
    if share >= FEWEST_KNOWN:
        return []
    missing = [words[i] for i in np.flatnonzero(~known)[:EXAMPLES].tolist()]
    counts = f"{model.path} knows {int(known.sum())} of the lexicon's {own} words ({share:.0%})"
    probes = other_case(words)
    seen = [probe for probe, is_known in zip(probes, model.knows(probes), strict=True) if is_known]
    if seen and share < 0.5:
        raise SearchError(
            f"{counts}: not {seen[0].swapcase()!r}, but {seen[0]!r}. Bring language model and "
            "lexicon to one case."
        )
    if share < STRANGERS:
        raise SearchError(f"{counts}: not {_quoted(missing)} for example. Do they belong together?")
    return [f"{counts}; it lacks {_quoted(missing)} for example. Do they belong together?"]


def _quoted(words: Sequence[str]) -> str:
    """The first few words, quoted, for a message."""
    return ", ".join(repr(word) for word in words[:EXAMPLES])
