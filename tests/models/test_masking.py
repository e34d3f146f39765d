from collections import Counter
from dataclasses import replace

import pytest
import torch

from models.masking import SpanMask, sample_spans, sample_time_mask


def spans(mask: torch.Tensor) -> list[int]:
    """Lengths of the runs of True in a row."""
    edges = (
        torch.diff(mask.int(), prepend=torch.zeros(1), append=torch.zeros(1)).nonzero().flatten()
    )
    return (edges[1::2] - edges[::2]).tolist()


def test_about_half_of_a_long_utterance_is_masked_in_spans_as_long_as_the_paper_says():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.full((10_000,), 780)  # 15.6 s
    mask = sample_spans(lengths, 780, probability=0.065, span=10, generator=generator)
    assert mask.float().mean().item() == pytest.approx(0.49, abs=0.01)  # §4.2
    runs = [run for row in mask[:1000] for run in spans(row)]
    assert sum(runs) / len(runs) == pytest.approx(14.7, abs=0.4)  # §4.2: mean span 14.7 steps
    assert min(runs[1:-1]) >= 1


def test_the_rule_by_hand():
    """Runs are whole spans or two that overlap, and there are as many starts as asked for."""
    generator = torch.Generator().manual_seed(3)
    mask = sample_spans(torch.tensor([100]), 100, probability=0.02, span=7, generator=generator)
    assert all(run % 7 == 0 or run <= 14 for run in spans(mask[0])) and 7 <= mask.sum() <= 3 * 7


def test_padding_is_never_masked_and_short_rows_are_masked_all_the_same():
    lengths = torch.tensor([50, 10, 3, 1, 0])
    for seed in range(50):
        mask = sample_spans(
            lengths, 60, probability=0.065, span=10, generator=torch.Generator().manual_seed(seed)
        )
        assert not (mask & (torch.arange(60) >= lengths[:, None])).any()
        assert mask[:4].any(1).all()
        assert not mask[4].any()


def test_a_row_does_not_depend_on_its_batch_mates_lengths():
    def draw(other: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return sample_spans(
            torch.tensor([80, other]), 80, probability=0.1, span=5, generator=generator
        )[0]

    assert torch.equal(draw(80), draw(20))


def test_no_probability_masks_nothing():
    assert not sample_spans(torch.tensor([40]), 40, probability=0.0, span=10).any()


@pytest.mark.parametrize(("probability", "span"), [(-0.1, 10), (6.5, 10), (0.1, 0)])
def test_impossible_masks_are_refused(probability, span):
    with pytest.raises(ValueError, match="got"):
        sample_spans(torch.tensor([40]), 40, probability=probability, span=span)


def drawn(mask: SpanMask, rows: int = 400, frames: int = 780) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return sample_time_mask(torch.full((rows,), frames), frames, mask, generator)


def test_a_mask_of_one_length_that_may_overlap_is_drawn_as_ever():
    lengths, mask = torch.tensor([80, 33]), SpanMask(0.075, 8)
    one = sample_time_mask(lengths, 80, mask, torch.Generator().manual_seed(9))
    other = sample_spans(
        lengths, 80, probability=0.075, span=8, generator=torch.Generator().manual_seed(9)
    )
    assert torch.equal(one, other)


# Mean and variance of the lengths: of one value, of a uniform one over a..b, of Poisson's, of a
# normal one (rounding adds 1/12; fewer than one in a hundred are below 1 for a deviation of 5).
@pytest.mark.parametrize(
    ("mask", "mean", "variance"),
    [
        (SpanMask(0.037, 10, time_overlap=False), 10.0, 0.0),
        (SpanMask(0.02, 31, time_lengths="uniform", time_spread=1, time_overlap=False), 16, 80),
        (SpanMask(0.02, 15, time_lengths="poisson", time_overlap=False), 15.0, 15.0),
        (
            SpanMask(0.02, 15, time_lengths="normal", time_spread=5.0, time_overlap=False),
            15.0,
            25.1,
        ),
    ],
)
def test_spans_without_overlap_have_the_lengths_of_their_distribution(mask, mean, variance):
    hidden = drawn(mask)
    lengths = torch.tensor([run for row in hidden for run in spans(row)]).float()
    assert lengths.mean().item() == pytest.approx(mean, rel=0.03)
    assert lengths.var().item() == pytest.approx(variance, rel=0.08, abs=1e-9)
    # A free frame lies between two spans, so that runs are spans, as many as were asked for.
    assert len(lengths) / 400 == pytest.approx(780 * mask.time_probability, rel=0.01)


def test_the_shortest_and_the_longest_of_uniform_lengths_are_drawn():
    for one, other in ((30, 10), (10, 30)):
        mask = SpanMask(0.02, one, time_lengths="uniform", time_spread=other, time_overlap=False)
        lengths = {run for row in drawn(mask) for run in spans(row)}
        assert min(lengths) == 10 and max(lengths) == 30


def test_every_arrangement_without_overlap_is_equally_likely():
    """Two spans of 2 in 6 frames with a frame between: they begin at 0, 3 or 0, 4 or 1, 4."""
    mask = SpanMask(1 / 3, 2, time_overlap=False)
    counts = Counter(tuple(row.tolist()) for row in drawn(mask, rows=9000, frames=6))
    expected = {(1, 1, 0, 1, 1, 0), (1, 1, 0, 0, 1, 1), (0, 1, 1, 0, 1, 1)}
    assert {tuple(map(int, row)) for row in counts} == expected
    assert all(count == pytest.approx(3000, rel=0.06) for count in counts.values())


def test_spans_of_drawn_lengths_may_overlap():
    """Lengths from 10 to 10 are fixed lengths, so about as many frames are hidden."""
    mask = SpanMask(0.065, 10, time_lengths="uniform", time_spread=10)
    assert drawn(mask).float().mean().item() == pytest.approx(0.49, abs=0.01)


@pytest.mark.parametrize("lengths", ["fixed", "uniform", "normal", "poisson"])
@pytest.mark.parametrize("overlap", [True, False])
def test_short_rows_have_a_span_and_padding_has_none(lengths, overlap):
    spread = 1.0 if lengths == "uniform" else 10.0
    mask = SpanMask(0.037, 15, time_lengths=lengths, time_spread=spread, time_overlap=overlap)
    sizes = torch.tensor([50, 10, 3, 1])
    for seed in range(50):
        hidden = sample_time_mask(sizes, 60, mask, torch.Generator().manual_seed(seed))
        assert not (hidden & (torch.arange(60) >= sizes[:, None])).any()
        assert hidden.any(1).all()
    assert not sample_time_mask(sizes, 60, replace(mask, time_probability=0.0)).any()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"time_lengths": "gamma"}, "time_lengths is fixed, uniform, normal or poisson"),
        ({"time_spread": -1.0}, "time_spread cannot be negative, got -1"),
    ],
)
def test_distributions_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        SpanMask(0.037, 15, **settings)
