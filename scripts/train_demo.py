"""Train a model in stages, each from the best weights of the one before.

    python -m scripts.train_demo OUT --real CORPUS... --valid CORPUS
        [--synthetic CORPUS...] [--model MODEL] [--scale 0.1]

The stages, of STAGES: `real` learns from recordings of people as they are, `varied` from these and
synthetic speech in other rooms, noise and speeds, `last` from recordings of people at a falling
rate. Each is a run of `w2v2 finetune` in OUT/STAGE, whose best weights by the validation corpus
the next begins with. The same call goes on where an earlier one was stopped: a stage that has ended
is not run again, and one that was stopped continues from its last state. The model is
OUT/last/best.safetensors.

MODEL is what the first stage begins with: a checkpoint, a name, or `demo-config` for random
weights. `docs/train-your-own.md` goes the whole way.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import w2v2
from storage.whole import write_whole


@dataclass(frozen=True)
class Stage:
    """One run of fine-tuning."""

    name: str
    updates: int
    peak: float
    """Learning rate; it falls to a twentieth over the second half."""
    synthetic: bool = False
    """Whether it reads the synthetic speech too."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Beside those of the recipe `demo`."""

    def all_settings(self, scale: float) -> dict[str, Any]:
        """The settings of the run, with `scale` times the updates."""
        updates = max(round(self.updates * scale), 1)
        every = max(min(100, updates // 2), 1)
        return {
            "schedule.updates": updates,
            "schedule.peak": self.peak,
            "schedule.warmup": 0.03,
            "schedule.constant": 0.47,
            "schedule.final_scale": 0.05,
            "validate_every": every,
            "save_every": every,
            **self.settings,
        }


STAGES = (
    # Above 5e-4 batches of 40 s undo what the weights to start from know.
    Stage("real", 3_000, 4e-4, settings={"mask.time_probability": 0.005}),
    Stage(
        "varied",
        12_000,
        4e-4,
        synthetic=True,
        settings={
            "speeds": "0.85,0.9,0.95,1.0,1.05,1.1,1.15",
            "augment.noise": 0.3,
            "augment.room": 0.3,
            "augment.telephone": 0.1,
            "mask.time_probability": 0.02,
            "layer_drop": 0.05,
        },
    ),
    Stage("last", 3_000, 2e-4, settings={"mask.time_probability": 0.02, "layer_drop": 0.05}),
)
ENDED = "ended.json"  # in a stage's folder, once its schedule came to its end


def train(
    output: Path,
    real: Sequence[str],
    synthetic: Sequence[str],
    valid: str,
    model: str,
    scale: float = 1.0,
    stages: Sequence[Stage] = STAGES,
) -> bool:
    """Run the stages that have not ended; False where a signal stopped one."""
    start = model
    for stage in stages:
        folder = output / stage.name
        if not (folder / ENDED).is_file():
            print(f"{stage.name}: from {start}", flush=True)
            result = w2v2.finetune(
                [*real, *(synthetic if stage.synthetic else ())],
                output=folder,
                model=start,
                recipe="demo",
                valid=valid,
                settings=stage.all_settings(scale),
                on_progress=shown,
                note=print,
                warn=print,
            )
            if not result.finished:
                print(f"Stopped by {result.stopped_by} at update {result.update}.")
                return False
            write_whole(folder / ENDED, json.dumps({"wer": result.score}) + "\n")
        start = str(folder / "best.safetensors")
    print(f"The model is {start}.")
    return True


def shown(progress: Any) -> None:
    """Print each validation."""
    metrics = progress.metrics
    if "wer" in metrics:
        rates = f"WER {metrics['wer']:.1%}, CER {metrics['cer']:.1%}"
        print(f"  update {metrics['update']:.0f}: {rates}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--real", nargs="+", required=True, help="corpora of people")
    parser.add_argument("--synthetic", nargs="*", default=[], help="corpora of synthetic speech")
    parser.add_argument("--valid", required=True, help="corpus to validate on")
    parser.add_argument("--model", default="demo", help="what to start from")
    parser.add_argument("--scale", type=float, default=1.0, help="times the updates")
    args = parser.parse_args()
    done = train(args.output, args.real, args.synthetic, args.valid, args.model, args.scale)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
