"""What `test_kernels` runs in a process of its own, in which Triton interprets its kernels.

Prints a line of JSON: how many answers of each kernel were compared with those of PyTorch's
operations, the differences between both searches, and the operations of a frame with kernels and
without.
"""

import collections
import json
import os
import random
import sys
import tempfile
from pathlib import Path

import torch
from torch.utils._python_dispatch import _disable_current_modes

TESTS = Path(__file__).parents[2]
# After the product, which has packages of the same names as folders of tests.
sys.path[:0] = [str(TESTS.parent)]
sys.path += [str(TESTS), str(TESTS / "lm" / "search" / "batched")]

from test_agreement import _written, differences  # noqa: E402
from test_frame import FRAMES, UTTERANCES, Counted, made_step  # noqa: E402

from lm.kernels import beam, choice, ngrams  # noqa: E402
from lm.ngram.arpa_automaton import read_automaton  # noqa: E402
from lm.ngram.arrays import FixedNgramTensors  # noqa: E402
from lm.search.batched.beam import best_distinct  # noqa: E402

KERNELS = [(ngrams, "_look_up"), (beam, "_distinct"), (beam, "_grown"), (beam, "_inside")]


class Launches:
    """A kernel that counts its launches as one operation each."""

    count: collections.Counter = collections.Counter()

    def __init__(self, module, name: str) -> None:
        self.kernel, self.name = getattr(module, name), name
        setattr(module, name, self)

    def __getitem__(self, grid):
        def launch(*args):
            self.count[self.name] += 1
            with _disable_current_modes():  # what the interpreter does is not counted
                self.kernel[grid](*args)

        return launch


def ngrams_compared(seeds: range, folder: Path) -> int:
    """Random models, states and words: bit by bit the same. Returns how many pairs."""
    count = 0
    for seed in seeds:
        draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
        words = [f"W{i}" for i in range(draw.randint(2, 9))]
        automaton = read_automaton(_written(folder / f"{seed}.arpa", words, draw))
        model = FixedNgramTensors(automaton, [*words, "<unk>"], torch.device("cpu"))
        sizes = len(automaton.backoff), len(automaton.vocabulary)
        states, said = (torch.randint(size, (3, 50), generator=generator) for size in sizes)
        found = ngrams.look_up(
            states, said, model._arcs, model._shorter, model._backoff, model._order, model._probes
        )
        for ours, theirs in zip(found, model._looked_up(states, said), strict=True):
            assert torch.equal(ours, theirs), seed
        count += states.numel()
    return count


def merged_compared(seeds: range) -> int:
    """Random scores, many of them equal or none, and keys: the same. Returns how many rows."""
    count = 0
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)

        def number(least: int, most: int, of=generator) -> int:
            return int(torch.randint(least, most, (1,), generator=of))

        rows, candidates = number(1, 4), number(1, (40, 300, 2500)[seed % 3])
        shape, most = (rows, candidates), number(1, candidates + 3)
        scores = torch.randn(shape, generator=generator).double()
        scores = scores.mul(2).round() if seed % 2 else scores
        scores[torch.rand(shape, generator=generator) < 0.2] = -torch.inf
        keys = torch.randint(max(2, candidates // 2), shape, generator=generator) << 40 * (seed % 2)
        pairs = zip(
            beam.best_distinct(scores, keys, most), best_distinct(scores, keys, most), strict=True
        )
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs), seed
        count += rows
    return count


def operations(folder: Path) -> dict[str, int]:
    """The operations of a frame, launches among them."""
    found = {}
    for name in ("letters", "letters by history", "phrases", "phones, any word"):
        step = made_step(name, folder)
        work = step.memory(UTTERANCES, FRAMES)
        before = Launches.count.total()
        with torch.no_grad(), Counted() as counted:
            step(work)
        found[name] = counted.operations + Launches.count.total() - before
    return found


def main(cases: int) -> None:
    """Compare, and print what was compared."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = operations(folder)
        choice.DEVICES = ("cpu",)
        os.environ["W2V2_KERNELS"] = "1"
        for module, name in KERNELS:
            Launches(module, name)
        told = {
            "without": plain,
            "pairs": ngrams_compared(range(12), folder),
            "rows": merged_compared(range(24)),
            "operations": operations(folder),
        }
    told["differences"] = differences(range(2000, 2000 + cases)) + differences(
        range(3000, 3000 + cases), phrases=True
    )
    print(json.dumps(told | {"launches": Launches.count}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
