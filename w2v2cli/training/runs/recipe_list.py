"""The recipes as a list for a person to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from w2v2cli.training.recipes import ABLATIONS, FINETUNING, PRETRAINING


def pretraining_list() -> str:
    """Return the recipes of pretraining: the models, then what each ablation changes."""
    models = [("recipe", "network", "peak rate", "updates", "hours an update")]
    for name, recipe in PRETRAINING.items():
        if name.removeprefix("ablation-") not in ABLATIONS:
            run = recipe()
            models.append((
                name,
                run.model,
                f"{run.schedule.peak:g}",
                str(run.schedule.updates),
                f"{run.total_batch_hours:g}",
            ))  # fmt: skip
    rows = [("recipe", "changes in ablation", "paper's WER", "deviation")]
    for name, row in ABLATIONS.items():
        rows.append((f"ablation-{name}", changes(name), f"{row.wer:.2f}", f"{row.deviation:.2f}"))
    return f"{_columns(models)}\n\n{_columns(rows)}"


def finetuning_list() -> str:
    """Return the recipes of fine-tuning."""
    rows = [("recipe", "peak rate", "updates", "head only", "time mask", "channel mask")]
    for name, recipe in FINETUNING.items():
        run = recipe()
        rows.append((
            name,
            f"{run.schedule.peak:g}",
            str(run.schedule.updates),
            str(run.head_only_updates),
            f"{run.mask.time_probability:g}",
            f"{run.mask.channel_probability:.4g}",
        ))  # fmt: skip
    return _columns(rows)


def changes(name: str) -> str:
    """Return what an ablation changes, by the names that `--set` takes.

    The encoder's layers are told by their kernels.
    """
    told = []
    for setting, value in ABLATIONS[name].settings.items():
        shown = value
        if setting == "conv_layers":
            setting, shown = "kernels", ",".join(str(kernel) for _, kernel, _ in value)
        setting = setting.removeprefix("objective.").removeprefix("mask.")
        told.append(f"{setting}={str(shown).lower() if isinstance(shown, bool) else shown}")
    return " ".join(told)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
