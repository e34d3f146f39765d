"""wav2vec 2.0: the network (`Wav2Vec2`) and its CTC head (`Wav2Vec2ForCTC`).

Shapes: B batch, S samples, T frames, C encoder channels, D width, V labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.adapters import ConvolutionalAdapter
from models.config import Wav2Vec2Config
from models.context_network import ContextNetwork
from models.feature_encoder import NORM_EPS, FeatureEncoder
from models.masking import DrawnMask, frames_valid
from models.quantizer import GumbelQuantizer, Quantized


class Wav2Vec2(nn.Module):
    """Waveforms to context vectors: encode, project, mask, contextualise."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        channels = config.conv_layers[-1][0]
        self.feature_encoder = FeatureEncoder(config)
        self.feature_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        if config.quantized_inputs:
            self.input_quantizer = GumbelQuantizer(
                channels, config.codebooks, config.codebook_entries, config.codebook_width
            )
        self.feature_projection = nn.Linear(
            config.codebook_width if config.quantized_inputs else channels, config.width
        )
        self.mask_vector = nn.Parameter(torch.empty(config.width).uniform_())
        self.context_network = ContextNetwork(config)
        self.adapter = ConvolutionalAdapter(config) if config.adapter else None

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        mask: DrawnMask | None = None,
        kept_blocks: Sequence[bool] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Context vectors (B, T, D) and the number of frames of each utterance (B,).

        Padding never changes the result of an utterance. A convolutional adapter leaves fewer
        frames, of its own width: (B, T', W).

        waveforms: (B, S) floats at 16 kHz.
        lengths: (B,) samples of each. Best on the CPU, where reading them does not wait for a GPU;
        the frames come back on the same device.
        mask: frames and channels to hide, on the device of the waveforms.
        kept_blocks: which Transformer blocks run; by default LayerDrop draws them in training.

        Raises ValueError for an utterance too short for one frame.
        """
        frames = self.frame_lengths(lengths)
        x, _ = self.inputs(self.feature_norm(self.encode(waveforms, lengths)))
        if mask is not None:
            x = self.hide(x, mask.frames, mask.channels)
        x = self.contextualise(x, frames, kept_blocks)
        return (x, frames) if self.adapter is None else self.adapter(x, frames)

    def hidden(self, waveforms: Tensor, lengths: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The states after a block, (B, T, D), and the number of frames of each utterance (B,).

        Those of transformers' `hidden_states[layer]`: 0 is what enters the first block. The last
        block's are normalised where the network ends with a norm, as `last_hidden_state` is. An
        adapter behind the blocks is left out. waveforms, lengths: see `forward`.

        Raises ValueError for a layer that the network does not have, and as `forward`.
        """
        blocks = len(self.context_network.blocks)
        if not 0 <= layer <= blocks:
            raise ValueError(f"there are layers 0 to {blocks}, got {layer}")
        frames = self.frame_lengths(lengths)
        x, _ = self.inputs(self.feature_norm(self.encode(waveforms, lengths)))
        return self.contextualise(x, frames, layer=layer), frames

    def encode(
        self, waveforms: Tensor, lengths: Tensor, encoder: FeatureEncoder | None = None
    ) -> Tensor:
        """(B, S) waveforms, (B,) samples of each -> (B, T, C): the latent features z.

        encoder: in place of the network's own (an ablation, P App. F).
        """
        if self.config.normalize_waveform:
            waveforms = normalize(waveforms, lengths)
        return (encoder or self.feature_encoder)(waveforms, lengths)

    def inputs(
        self, normed: Tensor, temperature: float | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Quantized | None]:
        """(B, T, C) normalised features -> (B, T, D), the input of the context network.

        The second result is the quantizer's choice, None unless the configuration quantizes the
        inputs (an ablation, P §5.4). temperature, noise: see `GumbelQuantizer`.
        """
        quantized = None
        if self.config.quantized_inputs:
            quantized = self.input_quantizer(normed.flatten(0, 1), temperature, noise)
            normed = quantized.vectors.unflatten(0, normed.shape[:2])
        return F.dropout(
            self.feature_projection(normed), self.config.feature_dropout, self.training
        ), quantized

    def hide(self, x: Tensor, frames: Tensor, channels: Tensor | None = None) -> Tensor:
        """Replace masked frames of (B, T, D) by the trained vector, and masked channels by zero.

        frames: (B, T) bool. channels: (B, D) bool.
        """
        x = torch.where(frames.unsqueeze(-1), self.mask_vector.to(x.dtype), x)
        return x if channels is None else x.masked_fill(channels.unsqueeze(1), 0.0)

    def contextualise(
        self,
        x: Tensor,
        frames: Tensor,
        kept_blocks: Sequence[bool] | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """(B, T, D), (B,) frames of each -> (B, T, D): the context vectors c.

        layer: in place of these the states after a block, as `hidden` counts them.
        """
        full = bool((frames == x.shape[1]).all())
        valid = None if full else frames_valid(frames, x.shape[1], x.device)
        return self.context_network(x, valid, kept_blocks, layer)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames of the context network.

        Raises ValueError for an utterance that is left without any.
        """
        if bool((self.config.frame_lengths(lengths) < 1).any()):
            shortest = int(lengths.min())
            raise ValueError(
                f"an utterance of {shortest} samples is too short: "
                f"the model needs {self.config.receptive_field}"
            )
        return self.config.encoded_lengths(lengths)


class Wav2Vec2ForCTC(nn.Module):
    """`Wav2Vec2` with a linear output layer over the labels (paper §3.3)."""

    def __init__(self, config: Wav2Vec2Config, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.num_labels = num_labels
        self.wav2vec2 = Wav2Vec2(config)
        self.output = nn.Linear(config.output_width, num_labels)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        mask: DrawnMask | None = None,
        kept_blocks: Sequence[bool] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and the number of frames of each (B,); see `Wav2Vec2.forward`."""
        states, frames = self.wav2vec2(waveforms, lengths, mask, kept_blocks)
        return self.output(F.dropout(states, self.config.final_dropout, self.training)), frames


def normalize(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Scale each utterance of (B, S) to zero mean and unit variance (R); padding becomes zero."""
    valid = frames_valid(lengths, waveforms.shape[1], waveforms.device)
    count = lengths.to(waveforms.device, non_blocking=True)[:, None]
    centred = (waveforms - (waveforms * valid).sum(1, keepdim=True) / count) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + NORM_EPS).sqrt()
