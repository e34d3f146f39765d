"""The network as a whole: padding, masking, gradients, and the form prepared for inference."""

import copy
from dataclasses import replace

import pytest
import torch

from models.config import base, demo, large, large_lv60k, tiny
from models.context_network import PositionalConvolution
from models.inference import prepare_for_inference
from models.masking import DrawnMask, SpanMask
from models.wav2vec2 import Wav2Vec2ForCTC, normalize


def reduced(config):
    """The variant `config` in the size of `tiny`."""
    small = tiny()
    names = (
        "conv_layers",
        "width",
        "ffn_width",
        "num_layers",
        "num_heads",
        "position_kernel",
        "position_groups",
    )
    return replace(config, **{name: getattr(small, name) for name in names})


VARIANTS = {
    "base": reduced(base()),
    "large": reduced(large()),
    "lv60k": reduced(large_lv60k()),
    "demo": demo(),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def model(request):
    torch.manual_seed(0)
    return Wav2Vec2ForCTC(request.param, 32).eval()


@torch.inference_mode()
def test_padding_never_changes_a_result(model):
    lengths = [9000, 400, 5123, 720, 8999]
    waveforms = [torch.randn(length) * 0.1 + 0.05 for length in lengths]
    alone = [model(w[None], torch.tensor([len(w)]))[0][0] for w in waveforms]
    for fill in (0.0, 1e3):  # the content of the padding does not matter
        for order in ([0, 1, 2, 3, 4], [4, 1], [2, 3, 0]):
            batch = torch.full((len(order), 9500), fill)
            for row, i in enumerate(order):
                batch[row, : lengths[i]] = waveforms[i]
            logits, frames = model(batch, torch.tensor([lengths[i] for i in order]))
            for row, i in enumerate(order):
                assert frames[row] == len(alone[i])
                torch.testing.assert_close(logits[row, : frames[row]], alone[i], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_preparing_for_inference_changes_no_more_than_rounding(model):
    waveforms, lengths = torch.randn(2, 8000) * 0.1, torch.tensor([8000, 6000])
    expected, frames = model(waveforms, lengths)
    exact, _ = prepare_for_inference(copy.deepcopy(model), torch.device("cpu"), torch.float32)(
        waveforms, lengths
    )
    torch.testing.assert_close(exact, expected, atol=1e-5, rtol=0)
    rough, _ = prepare_for_inference(copy.deepcopy(model), torch.device("cpu"), torch.bfloat16)(
        waveforms, lengths
    )
    for row, length in enumerate(frames):
        error = (rough[row, :length].float() - expected[row, :length]).norm() / expected[
            row, :length
        ].norm()
        assert error < 0.05


@torch.inference_mode()
@pytest.mark.parametrize(("width", "groups"), [(32, 4), (128, 16), (256, 16)])
def test_positions_in_bfloat16_are_those_of_float32_for_groups_of_any_width(width, groups):
    """oneDNN's bfloat16 convolution returns garbage for groups of 8 channels."""
    torch.manual_seed(0)
    position = PositionalConvolution(width, 16, groups)
    x = torch.randn(2, 149, width)
    expected = position(x)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = position(x)
    for rough in (autocast, position.bfloat16()(x.bfloat16())):
        assert (rough.float() - expected).norm() / expected.norm() < 0.02


def test_every_parameter_learns(model):
    model.train()
    for name, value in (("layer_drop", 0.0), ("dropout", 0.0)):
        object.__setattr__(model.config, name, value)
    lengths = torch.tensor([8000, 6000])
    spans = SpanMask(0.1, channel_probability=0.01)
    mask = DrawnMask.draw(model.config.frame_lengths(lengths), model.config.width, spans)
    logits, _ = model(torch.randn(2, 8000), lengths, mask)
    logits.square().sum().backward()
    without = [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not p.grad.isfinite().all()
    ]
    assert without == []


def test_masked_frames_become_the_trained_vector_and_masked_channels_zero():
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(tiny(), 8).wav2vec2
    x = torch.randn(3, 50, 32)
    spans = SpanMask(0.1, 5, channel_probability=0.05, channel_span=4)
    mask = DrawnMask.draw(torch.tensor([50, 50, 20]), 32, spans)
    hidden = network.hide(x, mask.frames, mask.channels)
    is_zero = (hidden == 0).all(1)  # (B, D)
    assert is_zero.any(1).all()
    changed = (hidden != x) & ~is_zero.unsqueeze(1)
    assert torch.equal(hidden[changed], network.mask_vector.expand_as(x)[changed])
    assert torch.equal(hidden[2, 20:][:, ~is_zero[2]], x[2, 20:][:, ~is_zero[2]])


def test_normalize_gives_zero_mean_and_unit_variance_of_the_valid_part():
    waveforms = torch.randn(2, 1000) * 3 + 7
    result = normalize(waveforms, torch.tensor([1000, 600]))
    for row, length in ((0, 1000), (1, 600)):
        assert result[row, :length].mean().abs() < 1e-5
        assert result[row, :length].var(correction=0) == pytest.approx(1, abs=1e-3)
    assert not result[1, 600:].any()


def test_too_short_an_utterance_is_refused_with_both_numbers():
    model = Wav2Vec2ForCTC(tiny(), 8)
    with pytest.raises(ValueError, match="399 samples is too short: the model needs 400"):
        model(torch.zeros(1, 399), torch.tensor([399]))
