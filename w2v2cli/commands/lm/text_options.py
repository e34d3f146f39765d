"""The options that say how the commands of `w2v2 lm` read texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from w2v2cli.errors import UsageError
from w2v2cli.help import Help

if TYPE_CHECKING:
    from lm.text.normalizers import NormalizerName
    from lm.text.reading import Reading

TEXT = "Text"  # heading of --help


@dataclass(frozen=True)
class TextFlags:
    """How texts are read: what a sentence is, and how it is spelled."""

    normalizer: Annotated[
        str | None,
        Help(
            "How the text is spelled: english (A to Z, numbers in words), basic (any language: "
            "Unicode NFC, one case, no punctuation), none, or as a model's transcripts are: its "
            "name or file. Default: english where the letters are A to Z, else basic.",
            TEXT,
        ),
    ] = None
    case: Annotated[
        Literal["upper", "lower", "keep"] | None,
        Help("Case of the letters. Default: lower for basic, keep for none.", TEXT),
    ] = None
    language: Annotated[
        str, Help("Language tag; tr and az have letter cases of their own.", TEXT)
    ] = ""
    sentences: Annotated[
        Literal["auto", "lines", "running"],
        Help(
            "lines: each line is a sentence; running: text that is cut at full stops and blank "
            "lines; auto: as the beginning of each text looks.",
            TEXT,
        ),
    ] = "auto"
    normalize: Annotated[
        bool | None,
        Help(
            "--no-normalize is short for --normalizer none --sentences lines, --normalize for "
            "--normalizer english --sentences running.",
            TEXT,
            flag="--normalize/--no-normalize",
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any of these options was given."""
        return self != type(self)()

    def reading(self, files: Sequence[Path]) -> Reading:
        """How these texts are read. Raises UsageError, UserError and TextError."""
        from lm.text.normalizers import CASES, Normalizer, NormalizerError
        from lm.text.reading import AS_IT_IS, Reading, chosen_normalizer
        from lm.text.sentences import sample_lines
        from w2v2cli.data.locations import resolve_model, vocabulary_in

        lines = None if self.sentences == "auto" else self.sentences == "lines"
        if self.normalize is not None:
            if replace(self, normalize=None).given:
                flag = "--normalize" if self.normalize else "--no-normalize"
                raise UsageError(f"{flag} decides on the other options of the text: leave it out.")
            return Reading(Normalizer(), lines=False) if self.normalize else AS_IT_IS
        name = self.normalizer
        if name is not None and name not in CASES:  # every other name is a model's
            if self.case is not None or self.language:
                raise UsageError(
                    f"--case and --language are those of the model {name}: leave them out."
                )
            try:
                vocabulary = vocabulary_in(resolve_model(name))
            except UsageError as error:
                raise UsageError(
                    f"--normalizer takes english, basic, none or a model, got {name!r}: {error}"
                ) from None
            return Reading(vocabulary.normalizer, lines, frozenset("".join(vocabulary.letters)))
        try:
            sample = sample_lines(files) if name is None else ()
            return Reading(
                chosen_normalizer(sample, cast("NormalizerName", name), self.case, self.language),
                lines,
            )
        except NormalizerError as error:
            raise UsageError(str(error)) from None
