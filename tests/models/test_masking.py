import pytest
import torch

from models.masking import sample_spans


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
