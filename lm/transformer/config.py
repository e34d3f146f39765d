"""The architecture of a word Transformer, and presets of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lm.language_model import LanguageModelError

ACTIVATIONS = ("relu", "gelu")


@dataclass(frozen=True)
class TransformerLMConfig:
    """Architecture of a decoder-only Transformer over words; default sizes: wav2vec 2.0, §4.4.

    Raises LanguageModelError for values that do not fit together.
    """

    vocabulary: int
    """Number of words, the four specials included."""
    blocks: int = 20
    """Number of Transformer blocks."""
    width: int = 1280
    """Width of the residual stream."""
    inner: int = 6144
    """Width of the feed-forward layers."""
    heads: int = 16
    """Attention heads of a block."""
    activation: str = "relu"
    """relu or gelu."""
    cutoffs: tuple[int, ...] = ()
    """Ends of the bands of the adaptive softmax, without the last; () for an ordinary softmax."""
    factor: float = 4.0
    """How many times narrower the vectors of a band are than those of the band before."""
    input_cutoffs: tuple[int, ...] | None = None
    """Ends of the bands of the input embeddings, without the last.

    None for ordinary embeddings, `width` wide and without a projection.
    """
    input_factor: float = 4.0
    """`factor` of the input embeddings."""
    input_width: int = 1280
    """Width of the vectors of the first input band."""
    tie_words: bool = False
    """Whether input and output share the vectors of words."""
    tie_projections: bool = False
    """Whether they also share the projections of the narrower bands."""
    scale_embedding: bool = True
    """Whether embeddings are multiplied by the square root of `width`."""
    final_norm: bool = True
    """Whether a layer norm follows the last block."""
    positions: int = 512
    """Length of the longest history, in words."""
    dropout: float = 0.1
    """Dropout on embeddings and on the outputs of sublayers."""
    attention_dropout: float = 0.1
    """Dropout on attention weights."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise LanguageModelError(
                f"Width {self.width} must be even and divide into {self.heads} heads."
            )
        if self.activation not in ACTIVATIONS:
            raise LanguageModelError(
                f"The activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}."
            )
        for name, cutoffs in (("softmax", self.cutoffs), ("input", self.input_cutoffs or ())):
            if list(cutoffs) != sorted(set(cutoffs)) or any(
                not 4 <= end < self.vocabulary for end in cutoffs
            ):
                raise LanguageModelError(
                    f"Cutoffs of the {name} must rise within the vocabulary of {self.vocabulary}, "
                    f"got {cutoffs}."
                )
        if self.positions < 4:
            raise LanguageModelError(
                f"A history must have room for 4 words or more, got positions={self.positions}."
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
                "Tied words need equal bands in input and output, got cutoffs "
                f"{self.input_cutoffs} by {self.input_factor:g} and "
                f"{self.cutoffs} by {self.factor:g}."
            )
        if self.input_cutoffs is not None and self.input_width != self.width:
            raise LanguageModelError(
                f"Tied words need equal widths, got {self.input_width} and {self.width}."
            )

    @property
    def bands(self) -> tuple[int, ...]:
        """Ends of the bands of the softmax, the last one included."""
        return (*self.cutoffs, self.vocabulary)


def paper(vocabulary: int) -> TransformerLMConfig:
    """20 blocks, d=1280, FFN 6144, 16 heads: wav2letter's recipe of the published model.

    Source: wav2letter, recipes/sota/2019/lm. vocabulary: words with the four specials.
    """
    config = TransformerLMConfig(vocabulary, final_norm=False, positions=256)
    return replace(_adaptive(config, (60_000, 160_000)), tie_projections=False)


def small(vocabulary: int) -> TransformerLMConfig:
    """6 blocks, d=512: trains in hours on a GPU."""
    return _adaptive(
        TransformerLMConfig(
            vocabulary, blocks=6, width=512, inner=2048, heads=8, input_width=512, positions=256
        ),
        (10_000, 40_000),
    )


def demo(vocabulary: int) -> TransformerLMConfig:
    """4 blocks, d=256, no dropout: the model that ships, trained in an hour on one core."""
    config = TransformerLMConfig(
        vocabulary, blocks=4, width=256, inner=1024, heads=4, input_width=256, positions=128
    )
    return _adaptive(_without_dropout(config), (5_000, 20_000))


def tiny(vocabulary: int) -> TransformerLMConfig:
    """2 blocks, d=64, no dropout: for tests and first tries."""
    config = TransformerLMConfig(
        vocabulary, blocks=2, width=64, inner=128, heads=4, input_width=64, positions=64
    )
    return _adaptive(_without_dropout(config), (100, 1000))


PRESETS = {"paper": paper, "small": small, "demo": demo, "tiny": tiny}


def _without_dropout(config: TransformerLMConfig) -> TransformerLMConfig:
    return replace(config, dropout=0.0, attention_dropout=0.0)


def _adaptive(config: TransformerLMConfig, cutoffs: tuple[int, ...]) -> TransformerLMConfig:
    """Tied bands for input and output; cutoffs beyond the vocabulary are left out."""
    ends = tuple(end for end in cutoffs if end < config.vocabulary)
    return replace(config, cutoffs=ends, input_cutoffs=ends, tie_words=True, tie_projections=True)
