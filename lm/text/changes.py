"""What a normaliser drops and rewrites in many texts, counted, and told in lines with examples."""

from __future__ import annotations

from collections.abc import Iterator

from lm.text.normalization import Changes
from lm.text.normalizers import Normalizer

SHOWN = 10  # changes of a kind in one line
EXAMPLES = 2  # texts that show what was changed
LONGEST_EXAMPLE = 120  # characters of an example
UNREMARKABLE = ("case", "space")  # changes that every normaliser makes


class ChangeReport:
    """A normaliser that counts what it changes. Case and spaces are counted and not told."""

    def __init__(self, normalizer: Normalizer) -> None:
        self.normalizer = normalizer
        self.counts = Changes()
        """All changes, those of case and spaces too."""
        self.texts = 0
        """Texts that were spelled."""
        self.changed = 0
        """Texts with a change that is worth telling."""
        self.examples: list[str] = []

    def spell(self, text: str, name: str = "") -> str:
        """Spell a text. name: what an example calls it."""
        own = Changes()
        after = self.normalizer(text, own)
        self.texts += 1
        self.counts.counts.update(own.counts)
        if any(kind not in UNREMARKABLE for kind, _, _ in own.counts):
            self.changed += 1
            if len(self.examples) < EXAMPLES:
                shown = f"{_short(text)} -> {_short(after)}"
                self.examples.append(f"{name}: {shown}" if name else shown)
        return after

    def lines(self, what: str) -> Iterator[str]:
        """Yield a line with the changes of each kind, then examples; nothing where there are none.

        what: the texts, `transcripts` for example.
        """
        if not self.changed:
            return
        kinds: dict[str, list[str]] = {}
        for (kind, before, after), count in self.counts.counts.most_common():
            if kind not in UNREMARKABLE:
                shown = f"{before!r} to {after!r}" if after.strip() else f"{before!r}"
                kinds.setdefault(kind, []).append(f"{shown} {count}")
        listed = "; ".join(
            f"{kind} {', '.join(found[:SHOWN])}{' and others' if len(found) > SHOWN else ''}"
            for kind, found in kinds.items()
        )
        told = f"changed {self.changed} of {self.texts} {what}"
        yield f"The normaliser {self.normalizer} {told}: {listed}."
        yield from (f"  {example}" for example in self.examples)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[:LONGEST_EXAMPLE]}…"
