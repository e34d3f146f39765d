"""How a text is read for a language model: what a sentence is, and how it is spelled."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lm.text.changes import ChangeReport
from lm.text.normalization import ENDS, FULL_ENDS, sentences
from lm.text.normalizers import Case, Normalizer, NormalizerName, is_numeral

SAMPLE = 1000  # lines of a text that tell how it is read
FEWEST = 20  # lines of a text that are looked at however many texts there are
MARKED = 0.05  # share of lines with the end of a sentence, below which a line is a sentence
ENDED = 0.8  # share of lines that end with a sentence, from which a line is one
INSIDE = 1.2  # sentences of such a line, above which it is a paragraph
FOREIGN = 0.005  # share of letters beyond A to Z in a text that is still English
LONG = 100  # words of a mean sentence that is probably none
NAMED = 3  # texts that a message names


@dataclass(frozen=True)
class Reading:
    """How texts become sentences."""

    normalizer: Normalizer = field(default_factory=lambda: Normalizer.named("none"))
    lines: bool | None = True
    """Whether each line is a sentence, or the text is running text; None looks at each text."""
    letters: frozenset[str] | None = None
    """The alphabet that digits must be among; None where no model's alphabet is known."""

    @property
    def key(self) -> str:
        """A name for everything that decides how a text is read."""
        letters = "" if self.letters is None else "".join(sorted(self.letters))
        return f"{self.normalizer.metadata} {self.lines} {letters}"

    def refuses(self, sentence: str) -> list[str]:
        """The digits of a spelled sentence that nobody can say how to pronounce.

        `english` writes numbers in words, and `none` without an alphabet takes all as it is.
        """
        if self.normalizer.name == "english":
            return []
        if self.normalizer.name == "none" and self.letters is None:
            return []
        found = [c for c in sentence if is_numeral(c)] if not sentence.isalpha() else []
        return [digit for digit in found if digit not in (self.letters or ())]


AS_IT_IS = Reading()
"""Each line is a sentence, and stays as it is."""


class ReadReport:
    """What reading texts found: sentences, changes of the normaliser, digits."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.changes = ChangeReport(reading.normalizer)
        self._as_it_is = reading.normalizer == AS_IT_IS.normalizer
        self.dotted = False
        """Whether a text has the Turkish i, and the normaliser does not know of it."""
        self._undotted = reading.normalizer.name == "basic" and not reading.normalizer.language
        self.words = 0
        self.sentences = 0
        self.digits = 0
        self.numeric: list[str] = []
        """Sentences left out for their digits, the first few."""
        self.left_out = 0
        """Number of sentences left out for their digits."""
        self.by_lines: list[str] = []
        """Names of the texts of which each line is a sentence."""
        self.running: list[str] = []
        """Names of the texts that are running text."""

    def spell(self, sentence: str) -> list[str]:
        """The words of a sentence as it is spelled; none where its digits cannot be said."""
        if self._undotted and not self.dotted:
            self.dotted = "ı" in sentence or "İ" in sentence
        spelled = sentence if self._as_it_is else self.changes.spell(sentence)
        if refused := self.reading.refuses(spelled):
            self.digits += len(refused)
            self.left_out += 1
            if len(self.numeric) < NAMED:
                self.numeric.append(spelled)
            return []
        words = spelled.split()
        self.words += len(words)
        self.sentences += bool(words)
        return words

    def lines(self) -> Iterator[str]:
        """Yield what a user should know of how the texts were read."""
        mean = self.words / max(self.sentences, 1)
        read = [
            f"{how} ({_named(names)})"
            for how, names in (
                ("each line as a sentence", self.by_lines),
                ("running text cut into sentences", self.running),
            )
            if names
        ]
        if read:
            yield (
                f"Read {' and '.join(read)}, normaliser {self.reading.normalizer}: "
                f"{self.sentences} sentences of {mean:.1f} words on average."
            )
        if mean > LONG:
            yield (
                f"Warning: sentences of {mean:.0f} words are probably none: --sentences lines "
                "reads each line as one, --sentences running cuts at full stops."
            )
        yield from self.changes.lines("sentences")
        if self.dotted:
            yield "The text has ı or İ: give --language tr or az, so that i and I keep their dots."
        if self.left_out:
            left = "sentences are" if self.left_out > 1 else "sentence is"
            yield (
                f"{self.left_out} {left} left out for {self.digits} digits, "
                f"{_quoted(self.numeric)} for example: how a number is said depends on the "
                "language. Write numbers in words, or name by --normalizer a model whose alphabet "
                "has digits."
            )


def is_one_a_line(lines: Sequence[str]) -> bool:
    """Whether the lines of a text are its sentences, by how they end.

    They are where hardly any line has the end of a sentence, as in transcripts without
    punctuation, and where nearly every line ends with the only sentence that it holds.
    """
    said = [line.strip() for line in lines if line.strip()]
    if not said:
        return True
    marks = frozenset(ENDS + FULL_ENDS)
    if sum(not marks.isdisjoint(line) for line in said) < MARKED * len(said):
        return True
    ended = sum(not marks.isdisjoint(line[-3:]) for line in said)
    held = sum(sum(1 for _ in sentences(line)) for line in said)
    return ended >= ENDED * len(said) and held <= INSIDE * len(said)


def is_mostly_english(lines: Sequence[str]) -> bool:
    """Whether hardly any letter of a text is beyond A to Z; foreign names may have some."""
    letters = foreign = 0
    for line in lines:
        for character in line:
            if character.isalpha() or unicodedata.category(character)[0] == "M":
                letters += 1
                foreign += not character.isascii()
    return foreign <= FOREIGN * letters


def chosen_normalizer(
    lines: Sequence[str],
    name: NormalizerName | None = None,
    case: Case | None = None,
    language: str = "",
) -> Normalizer:
    """The normaliser asked for; without a name english for an English text, else basic.

    lines: some of the text's. Raises NormalizerError for settings that do not fit.
    """
    if name is None:
        english = is_mostly_english(lines) and case in (None, "upper") and not language
        name = "english" if english else "basic"
    return Normalizer.named(name, case, language)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(repr(text[:80]) for text in texts)
