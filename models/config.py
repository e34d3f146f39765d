"""The architecture of a wav2vec 2.0 network: a frozen dataclass, its presets, its frame counts.

Sources: P is the paper (arXiv 2006.11477), R the reference configurations published with fairseq.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

SAMPLE_RATE = 16_000  # Hz; every waveform that enters a model has it

ADAPTER_PADDING = 1  # frames of zeros at either end of a convolutional adapter's input

ConvLayer = tuple[int, int, int]  # channels, kernel (input steps), stride (input steps)
COUNTS = (
    "width",
    "ffn_width",
    "num_layers",
    "position_kernel",
    "codebook_entries",
    "codebook_width",
    "target_width",
    "adapter_layers",
    "adapter_kernel",
    "adapter_stride",
)
# Far above every published network, and few enough to be built (XLS-R 2B: 48 blocks, width 1920).
MOST_LAYERS = 1000
LARGEST = 1_000_000
PROBABILITIES = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "feature_dropout",
    "quantizer_dropout",
    "final_dropout",
    "layer_drop",
)
Count = TypeVar("Count")  # an int, or a tensor of them


@dataclass(frozen=True)
class Wav2Vec2Config:
    """The architecture and its regularisation.

    The defaults are BASE (P §4.2; R wav2vec2_base_librispeech).
    """

    conv_layers: tuple[ConvLayer, ...] = (
        (512, 10, 5),
        *((512, 3, 2),) * 4,
        *((512, 2, 2),) * 2,
    )
    """Channels, kernel and stride of each block of the feature encoder (P §4.2).

    Kernel and stride count steps of the block's input.
    """
    conv_bias: bool = False
    """Whether the convolutions of the feature encoder have a bias (R: only LV-60k)."""
    conv_norm: Literal["group", "layer"] = "group"
    """Normalisation in the feature encoder (R).

    `group`: each channel over time, after the first convolution only.
    `layer`: over channels, after every convolution.
    """
    normalize_waveform: bool = False
    """Whether each utterance is first scaled to zero mean and unit variance.

    R `normalize`: only LV-60k.
    """

    width: int = 768
    """Width of the context network, d (P §4.2)."""
    ffn_width: int = 3072
    """Inner width of the feed-forward parts (P §4.2)."""
    num_layers: int = 12
    """Transformer blocks (P §4.2)."""
    num_heads: int = 12
    """Attention heads. P prints 8 for BASE; every released checkpoint has 12 (R)."""
    norm_order: Literal["post", "pre"] = "post"
    """Where a block normalises: after its residual sums, or before its parts.

    R `layer_norm_first`: LV-60k is `pre`.
    """
    position_kernel: int = 128
    """Frames that the convolution of relative positions sees (P §4.2)."""
    position_groups: int = 16
    """Groups of that convolution (P §4.2)."""

    attention_adapter: int = 0
    """Inner width of the adapter at the end of each block, one for each language (MMS); 0: none."""
    adapter: bool = False
    """Whether convolutions follow the Transformer (transformers' `add_adapter`)."""
    adapter_layers: int = 3
    """How many they are."""
    adapter_kernel: int = 3
    """Frames that each of them sees."""
    adapter_stride: int = 2
    """Frames from one of its outputs to the next."""
    adapter_width: int = 0
    """Width of their output; 0: that of the context network."""

    dropout: float = 0.1
    """Dropout after attention, after the feed-forward part, before the first block (P §4.2)."""
    attention_dropout: float = 0.1
    """Dropout on the attention probabilities (R)."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward part (R: 0 in pretraining, 0.1 in fine-tuning)."""
    feature_dropout: float = 0.1
    """Dropout on the projected features, the context network's input (R `dropout_input`)."""
    quantizer_dropout: float = 0.1
    """Dropout on the normalised features that the quantizer of the targets sees (P §4.2).

    R `dropout_features`.
    """
    final_dropout: float = 0.0
    """Dropout before the output layer (R `final_dropout`)."""
    layer_drop: float = 0.05
    """Probability that a whole block is skipped in training (P §4.2)."""

    codebooks: int = 2
    """Groups of the product quantizer, G (P §4.2)."""
    codebook_entries: int = 320
    """Entries in each codebook, V (P §4.2)."""
    codebook_width: int = 256
    """Width of a quantized vector before its projection: G · d/G, all codebooks (P §4.2)."""
    quantized_inputs: bool = False
    """Whether the context network sees quantized features (an ablation, P §5.4)."""
    quantized_targets: bool = True
    """Whether the targets of pretraining are quantized (P §5.4)."""
    target_width: int = 256
    """Width in which context and target are compared, f (R `final_dim`)."""
    target_glu: bool = False
    """Whether targets go through one more layer, a linear map and a GLU (R `target_glu`; the MLP on
    targets of an ablation, P App. F)."""
    separate_encoders: bool = False
    """Whether the targets come from a feature encoder of their own (an ablation, P App. F)."""

    def __post_init__(self) -> None:
        if not self.conv_layers or any(min(layer) < 1 for layer in self.conv_layers):
            raise ValueError(
                "conv_layers needs (channels, kernel, stride) of at least 1, "
                f"got {self.conv_layers}"
            )
        if len(self.conv_layers) > MOST_LAYERS or max(map(max, self.conv_layers)) > LARGEST:
            raise ValueError(
                f"conv_layers has at most {MOST_LAYERS} layers with numbers of at most {LARGEST}, "
                f"got {len(self.conv_layers)} with {max(map(max, self.conv_layers))}"
            )
        if self.conv_norm not in ("group", "layer"):
            raise ValueError(f"conv_norm is 'group' or 'layer', got {self.conv_norm!r}")
        if self.norm_order not in ("post", "pre"):
            raise ValueError(f"norm_order is 'post' or 'pre', got {self.norm_order!r}")
        if self.attention_adapter < 0 or (self.attention_adapter and self.norm_order != "pre"):
            raise ValueError(
                "attention_adapter is a width, and goes with norm_order 'pre', "
                f"got {self.attention_adapter} with {self.norm_order!r}"
            )
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        self._refuse_absurd()
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is from 0 to below 1, got {getattr(self, name):g}")
        for name, divisor in (
            ("num_heads", self.num_heads),
            ("position_groups", self.position_groups),
        ):
            if divisor < 1 or self.width % divisor:
                raise ValueError(f"width {self.width} cannot be divided by {name} {divisor}")
        if self.codebooks < 1 or self.codebook_width % self.codebooks:
            raise ValueError(
                f"codebook_width {self.codebook_width} cannot be divided by "
                f"codebooks {self.codebooks}"
            )

    def _refuse_absurd(self) -> None:
        """Raise ValueError for sizes that no network has and that no memory would hold.

        They come from damaged files: layers are built before any weight is compared with them.
        """
        for name in (*COUNTS, "codebooks", "attention_adapter", "adapter_width"):
            most = MOST_LAYERS if name.endswith("layers") else LARGEST
            if (value := getattr(self, name)) > most:
                raise ValueError(f"{name} must be at most {most}, got {value}")

    @property
    def output_width(self) -> int:
        """Width of the vectors that an output layer reads."""
        return (self.adapter and self.adapter_width) or self.width

    @property
    def has_idle_bias(self) -> bool:
        """Whether a bias has no effect: that of the first convolution, before a group norm."""
        return self.conv_bias and self.conv_norm == "group"

    @property
    def stride(self) -> int:
        """Samples from one frame of the output to the next.

        They are 320 (20 ms) in every published model, and more with a convolutional adapter.
        """
        product = self.adapter_stride**self.adapter_layers if self.adapter else 1
        for _, _, stride in self.conv_layers:
            product *= stride
        return product

    @property
    def receptive_field(self) -> int:
        """The fewest samples that give a frame: 400 (25 ms) in every published model."""
        return self.samples_for(1)

    def samples_for(self, frames: int) -> int:
        """The fewest samples that give `frames` frames of the output."""
        for _ in range(self.adapter_layers if self.adapter else 0):
            inner = (frames - 1) * self.adapter_stride + self.adapter_kernel - 2 * ADAPTER_PADDING
            frames = max(inner, 1)
        for _, kernel, stride in reversed(self.conv_layers):
            frames = (frames - 1) * stride + kernel
        return frames

    def frame_lengths(self, samples: Count) -> Count:
        """How many frames of the output `samples` give, 0 where none fits.

        Takes and returns an int or an integer tensor.
        """
        encoded = self.encoded_lengths(samples)
        return self.adapted_lengths(encoded, self.adapter_layers) if self.adapter else encoded

    def forward_flops(self, samples: int) -> tuple[float, float]:
        """Floating-point operations of feature encoder and Transformer for one recording, forward.

        A multiplication with its addition counts as two.
        """
        steps, width, encoder = samples, 1, 0.0
        for channels, kernel, stride in self.conv_layers:
            steps = max((steps - kernel) // stride + 1, 0)
            encoder += steps * kernel * width * channels
            width = channels
        d, inner = self.width, self.ffn_width
        block = steps * (4 * d * d + 2 * d * inner) + 2 * steps * steps * d
        position = steps * self.position_kernel * d * (d // self.position_groups)
        context = self.num_layers * block + position + steps * width * d
        return 2 * encoder, 2 * context

    def adapted_lengths(self, frames: Count, layers: int) -> Count:
        """How many frames `layers` convolutions of the adapter leave of `frames`."""
        length: Any = frames
        for _ in range(layers):
            room = length + 2 * ADAPTER_PADDING - self.adapter_kernel
            length = _at_least_0(room // self.adapter_stride + 1, length)
        result: Count = length
        return result

    def encoded_lengths(self, samples: Count) -> Count:
        """How many frames of the feature encoder, and so of the Transformer, `samples` give."""
        length: Any = samples
        for _, kernel, stride in self.conv_layers:
            length = _at_least_0((length - kernel) // stride + 1, length)
        result: Count = length
        return result


def _at_least_0(length: Any, before: Any) -> Any:
    """`length`, and 0 where it is negative or nothing was there before; an int or a tensor."""
    if isinstance(length, int):
        return max(length, 0) if before > 0 else 0
    return length.clamp(min=0) * (before > 0)


def base() -> Wav2Vec2Config:
    """BASE, ~95 M parameters (P §4.2)."""
    return Wav2Vec2Config()


def large() -> Wav2Vec2Config:
    """LARGE as trained on LibriSpeech, ~317 M parameters (P §4.2)."""
    return replace(
        base(),
        width=1024,
        ffn_width=4096,
        num_layers=24,
        num_heads=16,
        layer_drop=0.2,
        codebook_width=768,
        target_width=768,
    )


def large_lv60k() -> Wav2Vec2Config:
    """LARGE as trained on LV-60k (R): layer norms in the feature encoder, pre-norm blocks."""
    return replace(
        large(),
        conv_bias=True,
        conv_norm="layer",
        normalize_waveform=True,
        norm_order="pre",
        dropout=0.0,
        attention_dropout=0.0,
        feature_dropout=0.0,
        quantizer_dropout=0.0,
        layer_drop=0.0,
    )


def tiny() -> Wav2Vec2Config:
    """A network of a few thousand weights with the frames of BASE, for tests."""
    return replace(
        base(),
        conv_layers=tuple((16, kernel, stride) for _, kernel, stride in base().conv_layers),
        width=32,
        ffn_width=64,
        num_layers=2,
        num_heads=4,
        position_kernel=16,
        position_groups=2,
        codebook_entries=8,
        codebook_width=16,
        target_width=16,
    )


def demo() -> Wav2Vec2Config:
    """The model that ships: the LV-60k layout, small enough to train on two cores in an hour."""
    return replace(
        large_lv60k(),
        conv_layers=(
            (64, 10, 5),
            (96, 3, 2),
            (128, 3, 2),
            (192, 3, 2),
            (256, 3, 2),
            *((256, 2, 2),) * 2,
        ),
        width=256,
        ffn_width=1024,
        num_layers=8,
        num_heads=4,
        position_kernel=64,
        codebook_width=256,
        target_width=256,
    )


def small() -> Wav2Vec2Config:
    """3 M parameters: small enough to pretrain on two CPU cores within an hour."""
    return replace(
        demo(),
        conv_layers=(
            (64, 10, 5),
            (64, 3, 2),
            (96, 3, 2),
            (128, 3, 2),
            (192, 3, 2),
            *((192, 2, 2),) * 2,
        ),
        width=192,
        ffn_width=768,
        num_layers=6,
        num_heads=3,
        position_groups=12,
        codebook_width=192,
        target_width=192,
    )


PRESETS = {
    "base": base,
    "large": large,
    "large-lv60k": large_lv60k,
    "tiny": tiny,
    "demo": demo,
    "small": small,
}
