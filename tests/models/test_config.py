import pytest
import torch

from models.config import PRESETS, Wav2Vec2Config, base, large, large_lv60k
from models.wav2vec2 import Wav2Vec2


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_has_frames_of_20_ms_that_see_25_ms(preset):
    config = preset()
    assert config.stride == 320
    assert config.receptive_field == 400


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (250_000, 781)],
)
def test_frames_of_samples(samples, frames):
    assert base().frame_lengths(samples) == frames
    assert base().frame_lengths(torch.tensor([samples])).tolist() == [frames]


def test_samples_for_is_the_least_that_gives_the_frames():
    for frames in (1, 2, 49, 781):
        samples = base().samples_for(frames)
        assert base().frame_lengths(samples) == frames
        assert base().frame_lengths(samples - 1) == frames - 1


@pytest.mark.parametrize(
    ("preset", "millions"), [(base, 94.4), (large, 315.4), (large_lv60k, 315.4)]
)
def test_parameter_counts_are_those_of_the_published_models(preset, millions):
    with torch.device("meta"):
        model = Wav2Vec2(preset())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "width 768 cannot be divided by num_heads 5"),
        ({"position_groups": 7}, "width 768 cannot be divided by position_groups 7"),
        ({"conv_norm": "batch"}, "conv_norm is 'group' or 'layer', got 'batch'"),
        ({"norm_order": "both"}, "norm_order is 'post' or 'pre', got 'both'"),
        ({"conv_layers": ()}, "conv_layers needs"),
        ({"attention_adapter": 16}, "goes with norm_order 'pre', got 16 with 'post'"),
        ({"adapter_stride": 0}, "adapter_stride must be at least 1, got 0"),
        ({"adapter_layers": 10**9}, "adapter_layers must be at most 1000, got 1000000000"),
        ({"num_layers": 10**12}, "num_layers must be at most 1000, got 1000000000000"),
        ({"width": 768 * 10**9}, "width must be at most 1000000, got 768000000000"),
        ({"attention_adapter": 10**9, "norm_order": "pre"}, "attention_adapter must be at most"),
        ({"codebooks": 10**9, "codebook_width": 10**9}, "codebook_width must be at most"),
        ({"conv_layers": ((512, 10**9, 5),)}, "numbers of at most 1000000, got 1 with 1000000000"),
        ({"conv_layers": ((1, 1, 1),) * 1001}, "at most 1000 layers .*, got 1001 with 1"),
        ({"codebooks": 3}, "codebook_width 256 cannot be divided by codebooks 3"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Wav2Vec2Config(**change)
