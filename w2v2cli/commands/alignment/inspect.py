"""`w2v2 inspect`: what a network makes of a recording, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.model.inputs import Language
from w2v2cli.console import say
from w2v2cli.errors import UsageError, exits, refuse_overwriting
from w2v2cli.recognition.devices import Precision

Recording = Annotated[str, typer.Argument(metavar="FILE", help="A recording, or - for stdin.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Picture to write: .png, .svg or .pdf. Default: the recording's name in this folder, "
        "as .png.",
    ),
]
Model = Annotated[
    str, typer.Option(help="A name, a repository, a folder or a file; pretrained ones too.")
]
Text = Annotated[
    Path | None,
    typer.Option(
        help="File with what is said in the part: the path shown is that of the text. Default: "
        "the best path."
    ),
]
Start = Annotated[float, typer.Option(min=0.0, help="Second at which the part begins.")]
Seconds = Annotated[float, typer.Option(help="Length of the part, at most.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Computed = Annotated[Precision, typer.Option(help="Numbers of the acoustic model.")]
LONGEST = 60.0  # seconds: a longer picture has no room for its words


def inspect(
    recording: Recording,
    output: Output = None,
    model: Model = "demo",
    language: Language = None,
    text: Text = None,
    start: Start = 0.0,
    seconds: Seconds = 20.0,
    device: Device = "auto",
    precision: Computed = "auto",
) -> None:
    """Draw a part of a recording as the network hears it, over one axis of time.

    The waveform with its words; of a model that recognises the emissions, symbols over time, with
    the path found; of a pretrained one the codes of its quantizer. Needs matplotlib
    (pip install 'w2v2[plots]').

    Examples:

      w2v2 inspect talk.flac

      w2v2 inspect talk.flac --text talk.txt --start 60 --seconds 10 -o part.svg

      w2v2 inspect talk.flac --model base -o codes.png
    """
    with exits():
        if not 0 < seconds <= LONGEST:
            raise UsageError(f"--seconds is above 0 and at most {LONGEST:g}, got {seconds:g}.")
        path = output or Path(Path("stdin" if recording == "-" else recording).stem + ".png")
        refuse_overwriting("--output", path, [Path(recording), text])
        from w2v2cli.commands.model.inputs import load
        from w2v2cli.recognition.aligning.spelling import read_text
        from w2v2cli.recognition.inspecting.drawing import check_suffix, draw
        from w2v2cli.recognition.inspecting.looking import look

        check_suffix(path)
        words = None if text is None else read_text(text)
        _, checkpoint = load(model, language)
        found = look(
            checkpoint,
            Path(recording),
            start=start,
            seconds=seconds,
            text=words,
            device=device,
            precision=precision,
        )
        draw(found, path)
        say(f"The picture is {path}.")
