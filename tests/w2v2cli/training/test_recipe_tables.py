"""docs/training.md prints the figures of the recipes."""

from pathlib import Path

from w2v2cli.training.recipes import ABLATIONS, FINETUNING, PRETRAINING
from w2v2cli.training.runs.recipe_list import changes

PAGE = Path(__file__).parents[3] / "docs" / "training.md"


def rows(header):
    """The cells of the lines under a table's header."""
    lines = PAGE.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(header))
    found = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in line.strip("|").split("|")])


def figures(*values):
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]


def test_pretraining():
    assert rows("| recipe | network") == [
        [
            name,
            run.model,
            *figures(run.schedule.peak, run.schedule.updates, run.total_batch_hours),
            f"{run.crop_seconds:g}",
            f"{run.objective.mask.time_probability:g}",
        ]
        for name, run in ((name, recipe()) for name, recipe in PRETRAINING.items())
        if name.removeprefix("ablation-") not in ABLATIONS
    ]


def test_ablations():
    assert rows("| `ablation-` | changes") == [
        [name, f"`{changes(name)}`", f"{row.wer:.2f}", f"{row.deviation:.2f}"]
        for name, row in ABLATIONS.items()
    ]


def test_finetuning():
    assert rows("| recipe | peak rate") == [
        [
            name,
            *figures(
                run.schedule.peak,
                run.schedule.updates,
                run.head_only_updates,
                run.mask.time_probability,
                run.mask.channel_probability,
                run.layer_drop,
            ),
        ]
        for name, run in ((name, recipe()) for name, recipe in FINETUNING.items())
    ]
