"""Options that change how pretraining runs but not its results (tests/oracles checks these)."""

from dataclasses import replace

import pytest
import torch

from models.config import tiny
from models.pretraining import MaskedSteps, Objective, Wav2Vec2ForPretraining, pretraining_losses

LENGTHS = torch.tensor([16_000, 12_000])
OBJECTIVE = Objective(distractors=10)


def gradients(config, prepare=lambda network: None, **call):
    torch.manual_seed(0)
    network = Wav2Vec2ForPretraining(config).train()
    prepare(network)
    steps = MaskedSteps.draw(
        config.frame_lengths(LENGTHS), OBJECTIVE, torch.Generator().manual_seed(1)
    )
    torch.manual_seed(2)
    waveforms = torch.randn(2, 16_000)
    prediction = network(waveforms, LENGTHS, steps, temperature=1.5, **call)
    losses = pretraining_losses(prediction, steps, OBJECTIVE)
    losses.total.backward()
    found = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    return losses.total.detach(), found


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one[0], other[0], **tolerance)
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        torch.testing.assert_close(
            one[1][name], other[1][name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_running_blocks_again_in_the_backward_pass_changes_nothing(dropout):
    config = replace(
        tiny(), dropout=dropout, attention_dropout=dropout, feature_dropout=0, layer_drop=0
    )

    def recompute(network):
        network.wav2vec2.context_network.recompute = True

    assert_same(gradients(config), gradients(config, recompute))


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it finds on the machine
def test_compiled_blocks_change_nothing_beyond_rounding():
    from w2v2cli.training.optimization import compile_blocks

    def compiled(network):
        # Captured and differentiated as for any backend; inductor itself takes a minute here.
        compile_blocks(network, backend="aot_eager")

    config = replace(
        tiny(), dropout=0, attention_dropout=0, feature_dropout=0, quantizer_dropout=0, layer_drop=0
    )
    assert_same(gradients(config), gradients(config, compiled), rtol=1e-4, atol=1e-4)


def test_blocks_that_are_not_kept_learn_nothing_and_the_others_do():
    config = replace(tiny(), layer_drop=0.5)
    _, found = gradients(config, kept_blocks=[True, False])
    assert any(".blocks.0." in name for name in found)
    assert not any(".blocks.1." in name for name in found)


def test_masked_steps_of_padded_and_short_utterances():
    frames = torch.tensor([49, 3, 1])
    for seed in range(20):
        steps = MaskedSteps.draw(frames, OBJECTIVE, torch.Generator().manual_seed(seed))
        counts = steps.mask.sum(1)
        assert (counts >= 1).all() and not (
            steps.mask & (torch.arange(49) >= frames[:, None])
        ).any()
        assert len(steps) == int(counts.sum()) == int(steps.valid.sum())
        assert (steps.distractors < counts[:, None, None].clamp(min=1)).all()


def test_the_same_seed_draws_the_same():
    draws = [
        MaskedSteps.draw(torch.tensor([100, 80]), OBJECTIVE, torch.Generator().manual_seed(5))
        for _ in range(2)
    ]
    assert torch.equal(draws[0].mask, draws[1].mask) and torch.equal(
        draws[0].distractors, draws[1].distractors
    )


@pytest.mark.parametrize("separate", [False, True])
def test_codes_are_the_entries_behind_the_targets(separate):
    config = replace(tiny(), separate_encoders=separate)
    network = Wav2Vec2ForPretraining(config).eval()
    steps = MaskedSteps.draw(
        config.frame_lengths(LENGTHS), OBJECTIVE, torch.Generator().manual_seed(1)
    )
    waveforms = torch.randn(2, 16_000)
    with torch.inference_mode():
        codes = network.codes(waveforms, LENGTHS)
        predicted = network(waveforms, LENGTHS, steps)
    assert torch.equal(codes.flatten(0, 1)[steps.targets], predicted.codes)


def test_codes_are_those_of_quantized_inputs_or_none():
    waveforms = torch.randn(1, 16_000)
    for quantized in (False, True):
        config = replace(tiny(), quantized_targets=False, quantized_inputs=quantized)
        with torch.inference_mode():
            codes = Wav2Vec2ForPretraining(config).eval().codes(waveforms, LENGTHS[:1])
        shape = (1, int(config.frame_lengths(16_000)), config.codebooks)
        assert tuple(codes.shape) == shape if quantized else codes is None
