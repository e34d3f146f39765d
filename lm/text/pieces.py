"""Word pieces: the units of a sentencepiece model (the unigram model of Kudo, 2018).

The mark U+2581 begins the first piece of every word, so words can be restored without the model.
Learning pieces and spelling words in them need sentencepiece, an extra of this package.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lm.text.normalization import normalize_text

MARK = "\u2581"
BLANK = "<pad>"
UNKNOWN = "<unk>"
LONGEST = 16_384  # bytes of a sentence; sentencepiece skips longer ones
LONGEST_PIECE = 16  # characters


class PiecesError(ValueError):
    """Pieces that cannot be learned, or a piece model that cannot be read."""


@dataclass(frozen=True)
class PieceModel:
    """A sentencepiece model in bytes, which is loaded when it is first used."""

    proto: bytes
    """The serialised model, the content of a `.model` file."""

    @classmethod
    def from_text(cls, text: str) -> PieceModel:
        """The model that `as_text` wrote. Raises PiecesError for text that is not base64."""
        try:
            return cls(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise PiecesError("The model of word pieces is damaged: it is not base64.") from None

    def as_text(self) -> str:
        """The model in base64, for the JSON of a checkpoint."""
        return base64.b64encode(self.proto).decode("ascii")

    def labels(self) -> tuple[str, ...]:
        """The output symbols of an acoustic model: the blank, then pieces, commonest first."""
        pieces = (self._processor.id_to_piece(i) for i in range(self._processor.get_piece_size()))
        return (BLANK, *(piece for piece in pieces if piece != UNKNOWN))

    def spell(self, word: str) -> tuple[str, ...]:
        """The likeliest pieces of a word; characters unknown to the model stay as they are."""
        return tuple(self._processor.encode(word, out_type=str))

    def spellings(self, word: str, count: int) -> tuple[tuple[str, ...], ...]:
        """Up to `count` ways to cut a word into pieces, the likeliest first."""
        found = self._processor.nbest_encode(word, nbest_size=count, out_type=str)
        return tuple(dict.fromkeys(tuple(spelling) for spelling in found))

    @cached_property
    def _processor(self) -> Any:
        try:
            return import_sentencepiece().SentencePieceProcessor(model_proto=self.proto)
        except RuntimeError:
            raise PiecesError(
                "The model of word pieces is damaged: sentencepiece cannot read it."
            ) from None


def train_pieces(
    texts: Iterable[str], size: int, normalize: Callable[[str], str] = normalize_text
) -> PieceModel:
    """Learn a model of `size` pieces, every character among them, from transcripts.

    texts: transcripts, which `normalize` spells. The result depends on the texts alone. Raises
    PiecesError for a size that the texts do not allow, and where sentencepiece is not installed.
    """
    sentencepiece = import_sentencepiece()
    sentences = [text for text in map(normalize, texts) if text]
    if not sentences:
        raise PiecesError("There is no text to learn word pieces from.")
    least = len(set("".join(sentences)) - {" "}) + 1
    if size < least:
        raise PiecesError(
            f"{size} word pieces are too few: the texts have {least} characters, {MARK!r} included."
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=size + 1,  # and <unk>, which is not asked for
            model_type="unigram",
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=LONGEST,
            max_sentencepiece_length=LONGEST_PIECE,
            unk_piece=UNKNOWN,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        most = re.search(r"<= (\d+)\.", str(error))
        limit = (
            f"at most {int(most[1]) - 1} are possible"
            if most
            else str(error).strip().splitlines()[0]
        )
        raise PiecesError(
            f"{size} word pieces cannot be learned from {len(sentences)} sentences: {limit}."
        ) from None
    return PieceModel(model.getvalue())


def words_of(pieces: Iterable[str]) -> str:
    """The words that pieces spell, separated by spaces."""
    return " ".join("".join(pieces).replace(MARK, " ").split())


def import_sentencepiece() -> Any:
    """The sentencepiece package, an extra. Raises PiecesError where it is not installed."""
    try:
        import sentencepiece
    except ImportError:
        raise PiecesError("Word pieces need sentencepiece: pip install 'w2v2[pieces]'.") from None
    return sentencepiece
