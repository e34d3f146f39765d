"""`w2v2 features`: states of the network, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from w2v2cli.commands.model.inputs import Language
from w2v2cli.commands.reporting import hearing
from w2v2cli.console import complain, counted, say
from w2v2cli.errors import UsageError, UserError, exits
from w2v2cli.recognition.devices import Precision

Inputs = Annotated[
    list[str],
    typer.Argument(help="Recordings, folders, patterns, or - for stdin.", metavar="FILES|DIRS"),
]
OutputDir = Annotated[
    Path,
    typer.Option(
        "--output-dir",
        "--output",
        "-o",
        help="Folder that gets a NAME.FORMAT for each recording, in subfolders as found.",
    ),
]
Model = Annotated[
    str, typer.Option(help="A name, a repository, a folder or a file; pretrained ones too.")
]
Layer = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Transformer block whose output is written; 0 is what enters the first. "
        "Default: the last.",
    ),
]
Mean = Annotated[
    bool, typer.Option("--mean", help="Write the mean over frames, a vector a recording.")
]
Form = Annotated[
    Literal["npy", "safetensors"],
    typer.Option("--format", help="Format of the files; in safetensors the key is features."),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Skip recordings whose file is there, if they have not changed since.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Computed = Annotated[
    Precision,
    typer.Option(
        help="Type of the computation; the files are float32. auto is fp32 on a CPU; on a GPU bf16 "
        "where it has that in hardware, else fp16."
    ),
]


def features(
    inputs: Inputs,
    output_dir: OutputDir,
    model: Model = "demo",
    language: Language = None,
    layer: Layer = None,
    mean: Mean = False,
    form: Form = "npy",
    skip_existing: SkipExisting = False,
    device: Device = "auto",
    precision: Computed = "auto",
) -> None:
    """Write what the network makes of recordings: (frames, width) float32, a frame every 20 ms.

    Layers are counted as in the hidden_states of transformers; the last is its last_hidden_state.
    A recording of any length gives the frames of the whole.

    Examples:

      w2v2 features talk.flac -o vectors --model base --layer 9

      w2v2 features FOLDER -o vectors --model large-lv60k --mean --format safetensors
    """
    with exits():
        if output_dir.exists() and not output_dir.is_dir():
            raise UsageError(f"--output-dir {output_dir} is a file: name a folder.")
        from w2v2cli.commands.model.inputs import load
        from w2v2cli.recognition.features import FeatureModel, write_features

        _, checkpoint = load(model, language)
        network = FeatureModel.load(checkpoint, layer, device, precision)
        with hearing("Reading") as on_progress:
            failed = write_features(
                network,
                inputs,
                output_dir,
                form,
                mean=mean,
                skip_existing=skip_existing,
                note=say,
                on_progress=on_progress,
            )
        if failed:
            complain("\n".join(failed))
            raise UserError(f"No features of {counted(len(failed), 'recording')} (see above).")
