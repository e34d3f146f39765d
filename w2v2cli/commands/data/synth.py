"""`w2v2 data synth`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from w2v2cli.commands.data.options import Jobs, processes_for
from w2v2cli.console import counted, say
from w2v2cli.errors import UsageError, exits
from w2v2cli.progress import UTTERANCES, progress

if TYPE_CHECKING:
    from w2v2cli.data.synthesis.corpus import Synthesizer


def synth(
    text: Annotated[Path, typer.Argument(help="English text file, plain or .gz.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to make, in LibriSpeech's layout.")
    ],
    voices: Annotated[int, typer.Option(help="Number of speakers, 1 to 999.")] = 8,
    utterances: Annotated[
        int | None,
        typer.Option(
            help="Number of utterances, drawn from the text's sentences. "
            "Default: each sentence once."
        ),
    ] = None,
    voice: Annotated[
        Literal["espeak-ng", "kokoro"],
        typer.Option(
            help="What speaks: espeak-ng, whose voices are formants, or kokoro, a neural network "
            "(Kokoro-82M), whose speakers are mixtures of its 28 English voices."
        ),
    ] = "espeak-ng",
    kokoro: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of Kokoro's files (docs/data.md). Default: from the Hugging Face hub.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of the voices, sentences and speaking rates.")
    ] = 0,
    jobs: Jobs = None,
) -> None:
    """Make speech from text in many voices: a corpus for tests, or more data to train on.

    espeak-ng has to be installed for either voice. The same call goes on where an earlier one was
    interrupted.

    Examples:

      w2v2 data synth book.txt -o synthetic --voices 20 --utterances 500

      w2v2 data synth book.txt -o synthetic --voice kokoro --voices 300 --utterances 3000
    """
    with exits():
        workers = processes_for(jobs)
        from w2v2cli.data.synthesis.corpus import read_text, synthesize

        content = read_text(text)
        synthesizer = _synthesizer(voice, kokoro)
        with progress("Speaking", UTTERANCES) as advance:
            readings = synthesize(
                synthesizer, content, output, voices, utterances, seed, workers, advance
            )
        speakers = len({reading.voice.speaker for reading in readings})
        say(f"{output}: {counted(len(readings), 'utterance')} by {counted(speakers, 'voice')}.")


def _synthesizer(voice: str, folder: Path | None) -> Synthesizer[Any]:
    """What speaks. Raises UsageError for a folder without its voice."""
    if voice == "espeak-ng":
        if folder is not None:
            raise UsageError("--kokoro is the folder of --voice kokoro.")
        from w2v2cli.data.synthesis.espeak import Espeak

        return Espeak()
    from w2v2cli.commands.reporting import fetching
    from w2v2cli.data.synthesis.kokoro import Kokoro, check_installed
    from w2v2cli.data.synthesis.kokoro_files import fetch_kokoro, read_kokoro

    if folder is not None:
        return Kokoro(read_kokoro(folder))
    check_installed()  # before hundreds of megabytes are fetched
    with fetching() as on_progress:
        return Kokoro(fetch_kokoro(on_progress))
