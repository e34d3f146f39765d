"""Precisions side by side: weights in 8 bits, and what is counted of their words."""

import pytest
import torch

from benchmarks.precision.networks import in_eight_bits, loaded
from benchmarks.precision.tables import ALL, rows_of, speed_table
from models.checkpoint import Checkpoint
from models.config import PRESETS
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.results import Evaluation, Scored


def test_eight_bits_move_a_weight_by_half_a_step_of_its_row_at_most():
    torch.manual_seed(0)
    weights = {"a": torch.randn(3, 4, 5) * torch.tensor([1e-3, 1.0, 50.0])[:, None, None]}
    weights |= {"bias": torch.randn(7), "zero": torch.zeros(2, 2)}
    found, size = in_eight_bits(weights)
    steps = weights["a"].abs().amax((1, 2), keepdim=True) / 127
    assert ((found["a"] - weights["a"]).abs() <= steps / 2 + 1e-9).all()
    assert len((found["a"] / steps).round().unique()) > 20
    assert torch.equal(found["bias"], weights["bias"]) and not found["zero"].any()
    assert size == (60 + 3 * 4) + 7 * 2 + (4 + 2 * 4)


def test_networks_of_every_precision_hear_nearly_the_same():
    torch.manual_seed(0)
    config = PRESETS["tiny"]()
    weights = dict(Wav2Vec2ForCTC(config, 32).state_dict())
    checkpoint = Checkpoint(config, weights, tuple(map(str, range(32))))
    sound = torch.randn(8000).numpy() * 0.1
    plain = loaded(checkpoint, "fp32")
    [exact] = plain.log_probs([sound])
    assert len(plain.spent) == 1 and plain.spent[0] > 0
    for precision in ("bf16", "int8", "w8"):
        [found] = loaded(checkpoint, precision).log_probs([sound])
        assert 0 < abs(found - exact).mean() < 0.05


def evaluation(name, *pairs):
    scored = tuple(Scored(str(i), None, align(*pair), 1.0) for i, pair in enumerate(pairs))
    return Evaluation(name, None, scored, (), float(len(pairs)))


def test_rows_count_errors_and_the_words_that_are_others():
    said = ("ONE TWO THREE", "FOUR FIVE")
    first = ("ONE TWO TREE", "FOUR FIVE")
    other = ("ONE TO THREE", "FOUR")
    found = {
        corpus: {
            ("fp32", "none"): evaluation("fp32", *zip(said, first, strict=True)),
            ("bf16", "none"): evaluation("bf16", *zip(said, other, strict=True)),
        }
        for corpus in ("dev", "test")
    }
    dev, test, both = rows_of(found, "fp32")
    assert (dev.corpus, dev.precision, both.corpus) == ("dev", "bf16", ALL)
    assert (dev.spoken, dev.first_rate, dev.rate, dev.others) == (5, 0.2, 0.4, 3)
    assert dev.difference.points == pytest.approx(0.2) and test.others == 3
    assert (both.spoken, both.others, both.difference.utterances) == (10, 6, 4)
    assert dev.cells()[5].startswith("+20.00 (")


def test_seconds_are_set_beside_the_first():
    assert speed_table("x", {"fp32": 2.0, "bf16": 1.0}, 10.0).splitlines()[2:] == [
        "| fp32 | 2.00 | 5.0 | 1.00 |",
        "| bf16 | 1.00 | 10.0 | 2.00 |",
    ]
