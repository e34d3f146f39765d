"""`w2v2 lm train`: a word Transformer, trained on text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.lm.inputs import Texts, user_errors
from w2v2cli.commands.lm.text_options import TextFlags
from w2v2cli.commands.reporting import report_end, training
from w2v2cli.commands.training.run_options import BATCHES, TrainingFlags

Recipe = Annotated[
    Literal["paper", "small", "demo", "tiny"],
    typer.Option(
        help="Size of the network and its schedule: paper (562 M parameters), small (trains in "
        "hours on a GPU), demo (in an hour on a CPU core) or tiny (for tests)."
    ),
]
BatchWords = Annotated[
    int | None,
    typer.Option(
        help="Words per device and micro-batch; lower it when memory runs out. "
        "Default: the recipe's.",
        min=1,
        rich_help_panel=BATCHES,
    ),
]
SHOWN = ("loss", "perplexity", "learning_rate", "gradient_norm", "words_per_second")
SETTING = (
    "Any setting of the recipe, by the name that it has in run.json (schedule.peak, block); "
    "may be repeated."
)


@takes(TextFlags)
@takes(TrainingFlags, help={"settings": SETTING})
def train(
    flags: TrainingFlags,
    text: TextFlags,
    texts: Texts,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder of the run; a run in it is continued."),
    ],
    valid: Annotated[
        Path, typer.Option(help="Held-out text or folder; must not be among TEXT.", metavar="TEXT")
    ],
    recipe: Recipe = "small",
    peak_lr: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: the recipe's.")
    ] = None,
    batch_words: BatchWords = None,
) -> None:
    """Train a word Transformer; the best by validation perplexity becomes OUTPUT/best.safetensors.

    Give that file to --lm. Text of any size is turned into numbers on disk once, in $W2V2_HOME. A
    run that is stopped at any moment, also by SIGTERM or SIGUSR1, is continued by the same call.

    Examples:

      w2v2 lm train novels/ --valid held-out.txt -o runs/lm

      torchrun --nproc-per-node 8 --no-python w2v2 lm train ...
    """
    from lm.text.sentences import text_files
    from w2v2cli.training.runs.language_model import train_language_model

    flags.check_resume(output)
    words = {} if batch_words is None else {"batch_words": batch_words}
    with user_errors(output, "read"):
        reading = text.reading(list(text_files(texts)))
    with training(flags.log_every, SHOWN) as report:
        result = train_language_model(
            texts,
            valid=valid,
            output=output,
            recipe=recipe,
            reading=reading,
            settings=words | flags.changes(peak_lr),
            device=flags.device,
            tensorboard=flags.tensorboard,
            wandb=flags.wandb,
            on_progress=report.on_progress,
            warn=report.warn,
            note=report.note,
        )
    report_end(result)
