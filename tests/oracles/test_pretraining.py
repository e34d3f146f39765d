"""Losses, accuracy and gradients of pretraining beside transformers' `Wav2Vec2ForPreTraining`."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from oracles.peers import VARIANTS, shaken, transformers_config

from models.importers.huggingface import KEYS
from models.importers.key_table import to_ours
from models.masking import SpanMask
from models.pretraining import (
    MaskedSteps,
    Objective,
    Wav2Vec2ForPretraining,
    codebook_use,
    pretraining_losses,
)

QUIET = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feature_dropout": 0.0,
    "quantizer_dropout": 0.0,
    "layer_drop": 0.0,
    "codebook_entries": 12,
    "codebook_width": 24,
    "target_width": 20,
}
TEMPERATURE = 1.3
SAMPLES = 24_000


def peer(config):
    from transformers import Wav2Vec2ForPreTraining

    theirs = transformers_config(config)
    theirs.update(
        {
            name: 0.0
            for name in (
                "hidden_dropout",
                "attention_dropout",
                "activation_dropout",
                "feat_proj_dropout",
            )
        }
        | {"feat_quantizer_dropout": 0.0, "diversity_loss_weight": 0.1, "num_negatives": 10}
    )
    torch.manual_seed(0)
    model = shaken(Wav2Vec2ForPreTraining(theirs)).train()
    model.quantizer.temperature = TEMPERATURE
    return model


def ours_from(model, config):
    weights = to_ours(model.state_dict(), KEYS, None)
    weights["quantizer.codebook"] = weights["quantizer.codebook"].squeeze(0)
    network = Wav2Vec2ForPretraining(config).train()
    network.load_state_dict({name: tensor.clone() for name, tensor in weights.items()})
    return network


def with_noise(noise):
    """Their gumbel_softmax, its noise given."""

    def softmax(logits, tau, hard):
        soft = ((logits + noise) / tau).softmax(-1)
        choice = F.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
        return choice - soft.detach() + soft

    return softmax


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_accuracy_and_all_gradients_equal_those_of_transformers(name, monkeypatch):
    # Their group norm ignores the mask of frames, so all lengths are equal here.
    # Their waveforms are normalised outside of the network.
    config = replace(VARIANTS[name], **QUIET, normalize_waveform=False)
    theirs = peer(config)
    ours = ours_from(theirs, config)
    objective = Objective(mask=SpanMask(0.08, 4), distractors=10, penalty_weight=0.0)
    generator = torch.Generator().manual_seed(1)
    waveforms, lengths = torch.randn(2, SAMPLES, generator=generator), torch.tensor([SAMPLES] * 2)
    frames = config.frame_lengths(lengths)
    steps = MaskedSteps.draw(frames, objective, generator)
    noise = -torch.empty(2 * int(frames[0]), 2, 12).exponential_(generator=generator).log()

    prediction = ours(
        waveforms, lengths, steps, temperature=TEMPERATURE, noise=(noise[steps.frames], None)
    )
    losses = pretraining_losses(prediction, steps, objective)
    losses.total.backward()

    size = int(frames[0])
    negatives = torch.zeros(2, size, 10, dtype=torch.long)
    for row in range(2):
        hidden = steps.mask[row].nonzero().squeeze(1)
        negatives[row, hidden] = hidden[steps.distractors[row, : len(hidden)]] + row * size
    monkeypatch.setattr(F, "gumbel_softmax", with_noise(noise.flatten(0, 1)))
    found = theirs(waveforms, mask_time_indices=steps.mask, sampled_negative_indices=negatives)
    found.loss.backward()

    torch.testing.assert_close(losses.contrast.loss, found.contrastive_loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(
        losses.diversity * len(steps), found.diversity_loss, rtol=1e-4, atol=0
    )
    torch.testing.assert_close(losses.total, found.loss, rtol=1e-4, atol=0)
    perplexity = codebook_use(prediction.quantized[0])["prob_perplexity"]
    torch.testing.assert_close(perplexity, found.codevector_perplexity, rtol=1e-4, atol=0)
    assert int(losses.contrast.correct) == their_correct(found, steps, negatives)
    compare_gradients(ours, theirs)


def their_correct(found, steps, negatives):
    """Count the steps, in what they return, where the true target is the most similar one."""
    targets, context = (
        found.projected_quantized_states.flatten(0, 1),
        found.projected_states.flatten(0, 1),
    )
    right = 0
    for step in steps.frames.tolist():
        others = targets[negatives.flatten(0, 1)[step]]
        others = others[(others != targets[step]).any(-1)]
        similar = torch.cosine_similarity(
            context[step], torch.cat([targets[step : step + 1], others]), dim=-1
        )
        right += int(len(others) > 0 and (similar[0] > similar[1:]).all())
    return right


def compare_gradients(ours, theirs):
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in theirs.named_parameters()
    }
    expected = to_ours(gradients, KEYS, None)
    expected["quantizer.codebook"] = expected["quantizer.codebook"].squeeze(0)
    compared = 0
    for name, parameter in ours.named_parameters():
        scale = float(expected[name].abs().max())
        difference = float((parameter.grad - expected[name]).abs().max())
        assert difference <= 1e-4 * scale + 1e-6, f"{name}: {difference} beside {scale}"
        compared += 1
    assert compared == len(expected)


def test_the_penalty_and_the_scaled_gradient_reach_the_encoder():
    config = replace(VARIANTS["base"], **QUIET)
    torch.manual_seed(0)
    network = Wav2Vec2ForPretraining(config)
    lengths = torch.tensor([SAMPLES, 20_000])
    waveforms = torch.randn(2, SAMPLES)
    gradients = []
    for scale in (1.0, 0.1):
        network.zero_grad()
        objective = Objective(distractors=10)
        steps = MaskedSteps.draw(
            config.frame_lengths(lengths), objective, torch.Generator().manual_seed(1)
        )
        prediction = network(waveforms, lengths, steps, encoder_gradient=scale)
        pretraining_losses(prediction, steps, objective).total.backward()
        gradients.append((
            network.wav2vec2.feature_encoder.layers[0].conv.weight.grad.clone(),
            network.wav2vec2.feature_projection.weight.grad.clone(),
        ))  # fmt: skip
    torch.testing.assert_close(gradients[0][0] * 0.1, gradients[1][0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(gradients[0][1], gradients[1][1])


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("targets", [False, True])
def test_every_ablation_of_inputs_and_targets_trains_all_its_weights(inputs, targets):
    """Paper §5.4, table 4."""
    config = replace(VARIANTS["base"], **QUIET, quantized_inputs=inputs, quantized_targets=targets)
    torch.manual_seed(0)
    network = Wav2Vec2ForPretraining(config).train()
    objective = Objective(distractors=10)
    lengths = torch.tensor([SAMPLES, 20_000])
    frames = config.frame_lengths(lengths)
    steps = MaskedSteps.draw(frames, objective, torch.Generator().manual_seed(1))
    prediction = network(torch.randn(2, SAMPLES), lengths, steps, temperature=2.0)
    assert len(prediction.quantized) == inputs + targets
    losses = pretraining_losses(prediction, steps, objective)
    losses.total.backward()
    without = [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert without == []
