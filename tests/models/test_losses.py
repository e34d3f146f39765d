import math

import pytest
import torch

from models.losses import (
    contrastive_loss,
    diversity_loss,
    feature_penalty,
    sample_distractors,
    scale_gradient,
)


def test_contrastive_loss_of_three_steps_by_hand():
    """Three steps along the axes of a plane; similarities are then -1, 0 or 1, times 1/κ."""
    context = torch.tensor([[[1.0, 0], [0, 2], [3, 0]]])
    targets = torch.tensor([[[5.0, 0], [0, 1], [-1, 0]]])
    distractors = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    found = contrastive_loss(
        context, targets, distractors, torch.ones(1, 3, dtype=torch.bool), temperature=0.5
    )
    one, zero, minus = math.exp(2), math.exp(0), math.exp(-2)
    first = -math.log(one / (one + zero + minus))  # right; a right angle, the opposite
    second = -math.log(one / (one + 2 * zero))
    third = -math.log(minus / (minus + one + zero))
    assert float(found.loss) == pytest.approx(first + second + third, rel=1e-5)
    assert int(found.correct) == 2


def test_a_distractor_of_the_same_codes_does_not_count():
    context, targets = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    distractors = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    valid = torch.ones(1, 3, dtype=torch.bool)
    # The first two steps share an entry of both codebooks.
    codes = torch.tensor([[[0, 1], [0, 1], [1, 0]]])
    found = contrastive_loss(context, targets, distractors, valid, temperature=0.1, codes=codes)
    by_hand = 0.0
    for step in range(3):
        others = {2} if step < 2 else {0, 1}
        similar = torch.cosine_similarity(context[0, step], targets[0], dim=-1) / 0.1
        by_hand -= float(similar[step] - torch.logsumexp(similar[[step, *others]], 0))
    assert float(found.loss) == pytest.approx(by_hand, rel=1e-4)


def test_without_any_distractor_left_the_loss_is_zero_and_nothing_is_right():
    context = torch.randn(1, 3, 4, requires_grad=True)
    distractors = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    valid = torch.ones(1, 3, dtype=torch.bool)
    found = contrastive_loss(
        context,
        context.detach(),
        distractors,
        valid,
        temperature=0.1,
        codes=torch.zeros(1, 3, 2, dtype=torch.long),
    )
    assert found.loss.item() == 0 and found.correct.item() == 0
    found.loss.backward()
    assert context.grad.isfinite().all()


def test_steps_that_a_row_does_not_have_do_not_count():
    context, targets = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    distractors = torch.randint(0, 2, (2, 4, 6))
    valid = torch.tensor([[True, True, False, False], [True, True, True, True]])
    both = contrastive_loss(context, targets, distractors, valid, temperature=0.1)
    first = contrastive_loss(
        context[:1, :2], targets[:1, :2], distractors[:1, :2], valid[:1, :2], temperature=0.1
    )
    second = contrastive_loss(context[1:], targets[1:], distractors[1:], valid[1:], temperature=0.1)
    torch.testing.assert_close(both.loss, first.loss + second.loss)


def test_distractors_are_uniform_over_the_other_steps_of_the_utterance():
    """Chi-squared over every pair (step, distractor), for two utterances of different length."""
    from scipy.stats import chi2

    counts = torch.tensor([7, 4])
    drawn = sample_distractors(counts, 7, 20_000, torch.Generator().manual_seed(3))
    for row, count in enumerate(counts.tolist()):
        for step in range(count):
            seen = torch.bincount(drawn[row, step], minlength=7).double()
            assert seen[step] == 0 and seen[count:].sum() == 0
            others = seen[[i for i in range(count) if i != step]]
            expected = 20_000 / (count - 1)
            statistic = float(((others - expected) ** 2 / expected).sum())
            assert statistic < chi2.ppf(1 - 1e-5, count - 2)


def test_a_lonely_step_is_its_own_distractor():
    assert torch.equal(
        sample_distractors(torch.tensor([1, 0]), 1, 3), torch.zeros(2, 1, 3, dtype=torch.long)
    )


@pytest.mark.parametrize("definition", ["perplexity", "entropy"])
def test_diversity_is_lowest_where_all_entries_are_alike(definition):
    even = diversity_loss(torch.zeros(10, 2, 8), definition)
    peaked = torch.zeros(10, 2, 8)
    peaked[..., 0] = 50
    assert even < diversity_loss(peaked, definition)


def test_both_definitions_of_diversity_by_hand():
    logits = torch.tensor(
        [[[0.0, math.log(3)]], [[math.log(3), 0.0]], [[0.0, math.log(3)]]]
    )  # (N=3, G=1, V=2)
    mean = torch.tensor([(0.25 + 0.75 + 0.25) / 3, (0.75 + 0.25 + 0.75) / 3])
    entropy = float(-(mean * mean.log()).sum())
    assert float(diversity_loss(logits, "entropy")) == pytest.approx(-entropy / 2)
    assert float(diversity_loss(logits)) == pytest.approx((2 - math.exp(entropy)) / 2)


@pytest.mark.parametrize("definition", ["perplexity", "entropy"])
def test_a_codebook_that_has_collapsed_keeps_finite_gradients(definition):
    """The logarithm of a probability of exactly zero is infinite, its part of the entropy zero."""
    logits = torch.full((10, 2, 8), -200.0)
    logits[..., 0] = 0.0
    logits.requires_grad_()
    diversity_loss(logits, definition).backward()
    assert logits.grad.isfinite().all()


def test_feature_penalty_is_the_mean_square_of_valid_frames():
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[2.0, 2.0], [100.0, 100.0]]])
    valid = torch.tensor([[True, True], [True, False]])
    assert float(feature_penalty(features, valid)) == pytest.approx((1 + 4 + 9 + 16 + 4 + 4) / 6)


def test_scaled_gradient_leaves_the_value():
    x = torch.randn(3, requires_grad=True)
    y = scale_gradient(x, 0.1)
    assert torch.equal(x, y)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 0.1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_computed_in_float32_under_autocast_too(dtype):
    """The same as of the same numbers without autocast, to the last bit."""
    context, targets = torch.randn(2, 6, 8).to(dtype), torch.randn(2, 6, 8).to(dtype)
    valid = torch.ones(2, 6, dtype=torch.bool)
    distractors = sample_distractors(torch.tensor([6, 6]), 6, 4)

    def losses(context, targets):
        contrast = contrastive_loss(context, targets, distractors, valid, temperature=0.1)
        logits = context.flatten(0, 1).unflatten(-1, (2, 4))
        return contrast.loss, diversity_loss(logits), feature_penalty(targets, valid)

    with torch.autocast("cpu", dtype):
        rough = losses(context, targets)
    for found, exact in zip(rough, losses(context.float(), targets.float()), strict=True):
        assert found.dtype == torch.float32 and torch.equal(found, exact)
