"""The encoder's matrix products and folded norm against plain convolutions and norms."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.config import tiny
from models.feature_encoder import FeatureEncoder

VARIANTS = {
    "group": tiny(),
    "layer": replace(tiny(), conv_norm="layer", conv_bias=True),
    "odd kernels": replace(tiny(), conv_layers=((8, 7, 3), (12, 5, 2), (16, 1, 1), (16, 4, 3))),
}


def as_written(encoder: FeatureEncoder, waveform: torch.Tensor) -> torch.Tensor:
    """One utterance through plain convolutions, (S,) -> (T, C)."""
    x = waveform[None, None]
    for layer in encoder.layers:
        x = layer.conv(x)
        if isinstance(layer.norm, nn.GroupNorm):
            x = layer.norm(x)
        elif layer.norm is not None:
            x = layer.norm(x.transpose(1, 2)).transpose(1, 2)
        x = F.gelu(x)
    return x[0].T


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def encoder(request):
    torch.manual_seed(0)
    encoder = FeatureEncoder(request.param)
    for name, parameter in encoder.named_parameters():
        if "conv.weight" not in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return encoder


@pytest.mark.parametrize("samples", range(4000, 4020, 3))
def test_equals_the_convolutions(encoder, samples):
    waveform = torch.randn(samples) * 0.1 + 0.02
    expected = as_written(encoder, waveform)
    for context in (torch.enable_grad(), torch.inference_mode()):
        with context:
            result = encoder(waveform[None], torch.tensor([samples]))
            assert result.shape[1:] == expected.shape
            torch.testing.assert_close(result[0], expected, atol=1e-5, rtol=1e-4)


def test_gradients_equal_those_of_the_convolutions(encoder):
    waveform = torch.randn(2000)
    weights = torch.randn(encoder.config.frame_lengths(2000), encoder.config.conv_layers[-1][0])
    parameters = dict(encoder.named_parameters())
    ours = torch.autograd.grad(
        (encoder(waveform[None], torch.tensor([2000]))[0] * weights).sum(), parameters.values()
    )
    theirs = torch.autograd.grad(
        (as_written(encoder, waveform) * weights).sum(), parameters.values()
    )
    for name, a, b in zip(parameters, ours, theirs, strict=True):
        torch.testing.assert_close(
            a, b, atol=2e-3, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_constant_or_silent_waveform_stays_finite(encoder):
    for level in (0.0, 0.5):
        assert encoder(torch.full((1, 4000), level), torch.tensor([4000])).isfinite().all()
