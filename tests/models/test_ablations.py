"""The options that only the paper's ablations use (tables 4, 5 and 13): each changes one thing."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from models.config import tiny
from models.pretraining import MaskedSteps, Objective, Wav2Vec2ForPretraining, pretraining_losses

LENGTHS = torch.tensor([16_000, 12_000, 9_000])
FRAMES = tiny().frame_lengths(LENGTHS)
PLAIN = replace(
    tiny(), dropout=0, attention_dropout=0, feature_dropout=0, quantizer_dropout=0, layer_drop=0
)
VARIANTS = [
    {"batch_distractors": 7},
    {"distractors_anywhere": True},
    {"edge_steps": 2},
    {"batch_distractors": 7, "distractors_anywhere": True, "edge_steps": 2},
    {"distractors": 0, "batch_distractors": 7},
]


def objective(**settings):
    return replace(Objective(distractors=10), **settings)


def drawn(settings, frames=FRAMES):
    return MaskedSteps.draw(frames, objective(**settings), torch.Generator().manual_seed(1))


def predicted(config, steps, **call):
    torch.manual_seed(0)
    network = Wav2Vec2ForPretraining(config).train()
    torch.manual_seed(2)
    waveforms = torch.randn(3, 16_000)
    return network, network(waveforms, LENGTHS, steps, temperature=1.5, **call)


def negatives_of(steps):
    """The frames (in B · T) of each predicted step's distractors, from the steps' own fields."""
    among = steps.candidates
    rows = torch.zeros(among.spread.numel(), dtype=torch.long)
    rows[among.slots] = among.frames
    rows = rows.unflatten(0, among.spread.shape)  # (rows, C) frames
    found = torch.stack([row[places] for row, places in zip(rows, steps.distractors, strict=True)])
    return found.flatten(0, 1)[steps.slots]  # (n, K)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_loss_is_that_of_the_positives_and_distractors_by_hand(settings):
    steps = drawn(settings)
    _, prediction = predicted(PLAIN, steps)
    loss = pretraining_losses(prediction, steps, objective(**settings)).contrast
    target = dict(zip(steps.targets.tolist(), prediction.targets, strict=True))
    code = dict(zip(steps.targets.tolist(), prediction.codes.tolist(), strict=True))
    total, right = 0.0, 0
    for frame, context, negatives in zip(
        steps.frames.tolist(), prediction.context, negatives_of(steps).tolist(), strict=True
    ):
        others = [other for other in negatives if code[other] != code[frame]]
        scores = torch.stack(
            [F.cosine_similarity(context, target[other], dim=0) for other in [frame, *others]]
        )
        total += F.cross_entropy(scores[None] / 0.1, torch.tensor([0])).item()
        right += bool(others) and bool((scores[0] > scores[1:]).all())
    assert loss.loss.item() == pytest.approx(total, rel=1e-4)
    assert loss.correct.item() == right


def test_distractors_from_the_batch_are_masked_steps_of_any_utterance():
    steps = drawn({"distractors": 50, "batch_distractors": 50})
    hidden = set(steps.mask.flatten().nonzero().flatten().tolist())
    size = steps.mask.shape[1]
    share = 0.0
    for frame, negatives in zip(steps.frames.tolist(), negatives_of(steps).tolist(), strict=True):
        assert set(negatives) <= hidden and frame not in negatives
        assert all(other // size == frame // size for other in negatives[:50])
        share += sum(other // size != frame // size for other in negatives[50:]) / 50
    counts = steps.mask.sum(1).double()
    n = counts.sum()
    expected = float((counts / n * (1 - (counts - 1) / (n - 1))).sum())  # of other utterances
    assert share / len(steps) == pytest.approx(expected, rel=0.05)


def test_distractors_from_any_step_are_every_other_frame_of_the_utterance():
    steps = drawn({"distractors": 2000, "distractors_anywhere": True})
    size = steps.mask.shape[1]
    for frame, negatives in zip(steps.frames.tolist(), negatives_of(steps).tolist(), strict=True):
        row = frame // size
        others = set(range(row * size, row * size + int(FRAMES[row]))) - {frame}
        assert set(negatives) == others
    assert torch.equal(steps.frames, steps.mask.flatten().nonzero().flatten())


def test_what_is_not_masked_does_not_count_in_the_use_of_the_codebooks():
    steps = drawn({"distractors_anywhere": True})
    _, prediction = predicted(PLAIN, steps)
    at = {frame: i for i, frame in enumerate(steps.targets.tolist())}
    masked = torch.tensor([at[frame] for frame in steps.frames.tolist()])
    assert len(prediction.codes) == int(FRAMES.sum()) > len(steps)
    assert torch.equal(prediction.quantized[0].codes, prediction.codes[masked])


@pytest.mark.parametrize("edge", [1, 3, 100])
def test_only_the_steps_next_to_what_is_seen_are_predicted(edge):
    frames = torch.tensor([49, 37, 2])
    steps = drawn({"edge_steps": edge}, frames=frames)
    found = set(steps.frames.tolist())
    for row, length in enumerate(frames.tolist()):
        mask = steps.mask[row, :length].tolist()
        seen = [t for t, hidden in enumerate(mask) if not hidden]
        for t, hidden in enumerate(mask):
            near = not seen or min(abs(t - other) for other in seen) <= edge
            assert (row * 49 + t in found) == (hidden and near)
    # Distractors are all masked steps, predicted or not.
    assert torch.equal(steps.targets, steps.mask.flatten().nonzero().flatten())


def gradient(network, value):
    weight = network.wav2vec2.feature_encoder.layers[0].conv.weight
    found = torch.autograd.grad(value, weight, retain_graph=True, allow_unused=True)[0]
    return 0.0 if found is None else float(found.abs().max())


@pytest.mark.parametrize("reaches", [True, False])
def test_targets_without_a_gradient_into_the_encoder(reaches):
    network, prediction = predicted(PLAIN, drawn({}), target_gradient=reaches)
    assert (gradient(network, prediction.targets.sum()) > 0) == reaches
    assert (gradient(network, prediction.quantized[0].logits.square().sum()) > 0) == reaches
    assert gradient(network, prediction.context.sum()) > 0
    quantizer = network.quantizer.projection.weight
    assert torch.autograd.grad(prediction.targets.sum(), quantizer)[0].abs().max() > 0


def test_targets_of_an_encoder_of_their_own():
    steps = drawn({})
    config = replace(PLAIN, quantized_targets=False, separate_encoders=True)
    network, prediction = predicted(config, steps)
    assert gradient(network, prediction.targets.sum()) == 0
    assert gradient(network, prediction.context.sum()) > 0
    torch.manual_seed(2)
    waveforms = torch.randn(3, 16_000)
    normed = network.target_norm(network.target_encoder(waveforms, LENGTHS))
    expected = network.target_projection(normed.flatten(0, 1)[steps.frames])
    torch.testing.assert_close(prediction.targets, expected)
    # The encoder of the targets has weights of its own, not a copy of the other's.
    ours, theirs = network.wav2vec2.feature_encoder, network.target_encoder
    assert not torch.equal(ours.layers[1].conv.weight, theirs.layers[1].conv.weight)


def test_the_layer_on_the_targets_is_a_linear_map_and_a_gate():
    steps = drawn({})
    config = replace(PLAIN, quantized_targets=False)
    plain, before = predicted(config, steps)
    network, after = predicted(replace(config, target_glu=True), steps)
    network.load_state_dict(plain.state_dict(), strict=False)
    torch.manual_seed(2)
    after = network(torch.randn(3, 16_000), LENGTHS, steps, temperature=1.5)
    value, gate = network.target_glu[0](before.targets).chunk(2, -1)
    torch.testing.assert_close(after.targets, value * gate.sigmoid())
    torch.testing.assert_close(after.context, before.context)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"edge_steps": -1}, "edge_steps cannot be negative, got -1"),
        ({"distractors": 0}, "cannot both be 0"),
    ],
)
def test_an_objective_that_cannot_be_is_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        objective(**settings)
