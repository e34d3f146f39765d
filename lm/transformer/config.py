"""What a word Transformer is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lm.language_model import LanguageModelError

ACTIVATIONS = ("relu", "gelu")


@dataclass(frozen=True)
class TransformerLMConfig:
    """Architecture of a decoder-only Transformer over words; sizes by default those of wav2vec 2.0, §4.4."""

    vocabulary: int
    """Words with their four specials."""
    blocks: int = 20
    width: int = 1280
    """d: of the residual stream."""
    inner: int = 6144
    """Of the feed-forward layers."""
    heads: int = 16
    activation: str = "relu"
    cutoffs: tuple[int, ...] = ()
    """Where the bands of the adaptive softmax end, the last band's end left out; none is an ordinary softmax."""
    factor: float = 4.0
    """Each band's vectors are this many times narrower than those of the band before it."""
    input_cutoffs: tuple[int, ...] | None = None
    """The same of the input embeddings; None for ordinary embeddings, `width` wide and without a projection."""
    input_factor: float = 4.0
    input_width: int = 1280
    """Of the vectors of the first input band."""
    tie_words: bool = False
    """Input and output share the words' vectors."""
    tie_projections: bool = False
    """Input and output also share the projections of the narrower bands."""
    scale_embedding: bool = True
    """Multiply embeddings by the root of `width`."""
    final_norm: bool = True
    """A layer norm after the last block."""
    positions: int = 512
    """Longest history that it reads, in words."""
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise LanguageModelError(
                f"Width {self.width} must be even and divide into {self.heads} heads."
            )
        if self.activation not in ACTIVATIONS:
            raise LanguageModelError(
                f"The activation {self.activation!r} is none of {', '.join(ACTIVATIONS)}."
            )
        for name, cutoffs in (("softmax", self.cutoffs), ("input", self.input_cutoffs or ())):
            if list(cutoffs) != sorted(set(cutoffs)) or any(
                not 4 <= end < self.vocabulary for end in cutoffs
            ):
                raise LanguageModelError(
                    f"Cutoffs of the {name} must rise within the vocabulary of {self.vocabulary}, got {cutoffs}."
                )
        if self.positions < 4:
            raise LanguageModelError(
                f"A history must have room for 4 words or more, got {self.positions}."
            )
        self._check_ties()

    def _check_ties(self) -> None:
        if self.tie_projections and not self.tie_words:
            raise LanguageModelError(
                "Projections can only be tied where the words' vectors are tied."
            )
        if not self.tie_words:
            return
        if (self.input_cutoffs or ()) != self.cutoffs or (
            self.cutoffs and self.input_factor != self.factor
        ):
            raise LanguageModelError(
                f"Tied words need equal bands, got cutoffs {self.input_cutoffs} by {self.input_factor:g} and "
                f"{self.cutoffs} by {self.factor:g}."
            )
        if self.input_cutoffs is not None and self.input_width != self.width:
            raise LanguageModelError(
                f"Tied words need equal widths, got {self.input_width} and {self.width}."
            )

    @property
    def bands(self) -> tuple[int, ...]:
        """Where each band of the softmax ends, the last one's end included."""
        return (*self.cutoffs, self.vocabulary)


def paper(vocabulary: int) -> TransformerLMConfig:
    """20 blocks, d=1280, FFN 6144, 16 heads: as wav2letter's recipe for the published model trains it."""
    config = TransformerLMConfig(vocabulary, final_norm=False, positions=256)
    return replace(_adaptive(config, (60_000, 160_000)), tie_projections=False)


def small(vocabulary: int) -> TransformerLMConfig:
    """6 blocks, d=512: trains in hours."""
    return _adaptive(
        TransformerLMConfig(
            vocabulary, blocks=6, width=512, inner=2048, heads=8, input_width=512, positions=256
        ),
        (10_000, 40_000),
    )


def demo(vocabulary: int) -> TransformerLMConfig:
    """4 blocks, d=256, without dropout: the one that ships, made in an hour of one core."""
    return _adaptive(
        TransformerLMConfig(
            vocabulary, blocks=4, width=256, inner=1024, heads=4, input_width=256, positions=128, dropout=0.0,
            attention_dropout=0.0,
        ),
        (5_000, 20_000),
    )  # fmt: skip


def tiny(vocabulary: int) -> TransformerLMConfig:
    """2 blocks, d=64: for tests and first tries."""
    return _adaptive(
        TransformerLMConfig(
            vocabulary, blocks=2, width=64, inner=128, heads=4, input_width=64, positions=64, dropout=0.0,
            attention_dropout=0.0,
        ),
        (100, 1000),
    )  # fmt: skip


PRESETS = {"paper": paper, "small": small, "demo": demo, "tiny": tiny}


def _adaptive(config: TransformerLMConfig, cutoffs: tuple[int, ...]) -> TransformerLMConfig:
    ends = tuple(end for end in cutoffs if end < config.vocabulary)
    return replace(config, cutoffs=ends, input_cutoffs=ends, tie_words=True, tie_projections=True)
