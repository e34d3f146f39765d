"""`w2v2 data`: corpora looked into, fetched, made and packed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.data.corpora.preparation import Prepared
    from w2v2cli.data.scanning import Scan

app = typer.Typer(help="Look into corpora, prepare, make and pack them.", no_args_is_help=True)

NAMED = 20  # unreadable files and duplicates that are named one by one

Jobs = Annotated[
    int | None, typer.Option(help="Processes at once; as many as there are processors by default.")
]


@app.command()
def scan(
    corpus: Annotated[
        Path, typer.Argument(help="A folder of recordings, a corpus or a manifest.", metavar="DIR")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The manifest to write: .jsonl, or .tsv for fairseq."),
    ],
    jobs: Jobs = None,
    hash: Annotated[
        bool, typer.Option(help="Read every byte for a SHA-256, which finds duplicates.")
    ] = True,
    decode: Annotated[
        bool, typer.Option(help="Decode every recording to its end, which finds hidden damage.")
    ] = False,
) -> None:
    """Write a manifest: length, rate, speaker, hash and text of every recording. Unreadable ones are named, exit code 1."""
    with exits():
        if output.suffix not in (".jsonl", ".tsv"):
            raise UsageError(f"{output} should end in .jsonl, or in .tsv for fairseq.")
        from w2v2cli.data.corpora.manifest import write_fairseq
        from w2v2cli.data.corpora.readers import list_corpus
        from w2v2cli.data.scanning import scan as scan_all
        from w2v2cli.data.scanning import whole_files, write_manifest

        workers = _workers(jobs)
        with progress("listing") as advance:
            utterances = list_corpus(corpus)
            found = scan_all(
                utterances,
                workers,
                hash,
                decode,
                lambda done, total: advance(done, total, "scanning"),
            )
        if output.suffix == ".tsv":
            write_fairseq(whole_files(found), output)
        else:
            write_manifest(found, output)
        _tell(found)
        say(
            f"{output}: {len(found.utterances)} recordings, {found.hours:.2f} hours, "
            f"{found.speakers or 'unknown'} speakers."
        )
        if found.failures:
            raise UserError(
                f"{len(found.failures)} of {len(utterances)} recordings cannot be read."
            )


@app.command()
def prepare(
    corpus: Annotated[
        str, typer.Argument(help="librispeech, librilight or timit.", metavar="CORPUS")
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Its folder, archives or their addresses.", metavar="DIR|URL|ARCHIVE"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to unpack; by default the folder named, else the store's data folder.",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this split, fetched if it is not here; may be given more than once."
        ),
    ] = None,
    jobs: Jobs = None,
    hash: Annotated[bool, typer.Option(help="Read every recording for a SHA-256.")] = True,
) -> None:
    """Unpack a corpus, fetching it first if asked, and write OUTPUT/manifests/SPLIT.jsonl for each split."""
    with exits():
        from storage.home import home
        from w2v2cli.data.corpora.preparation import (
            check_call,
            source_folders,
            unpack_sources,
            write_manifests,
        )

        sources, splits = sources or [], split or []
        check_call(corpus, sources, splits)
        folders, workers = source_folders(sources), _workers(jobs)
        if output is None:
            output = folders[0] if len(sources) == len(folders) == 1 else home() / "data"
        prepared = []
        with progress("preparing") as advance:
            for sentence in unpack_sources(corpus, sources, splits, output, advance):
                say(sentence)
            roots = list(dict.fromkeys([output, *folders]))
            for part in write_manifests(corpus, roots, splits, output, workers, hash, advance):
                prepared.append(part)
        _print_summary(prepared)
        say(f"The manifests are in {output / 'manifests'}.")
        for part in prepared:
            _tell(part.found)
            if part.note:
                say(part.note)
        if failed := sum(len(part.found.failures) for part in prepared):
            raise UserError(f"{failed} recordings cannot be read; the manifests are without them.")


@app.command()
def synth(
    text: Annotated[Path, typer.Argument(help="A text file in English, gzip by name.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder to make, in LibriSpeech's layout.")
    ],
    voices: Annotated[int, typer.Option(help="Speakers.")] = 8,
    utterances: Annotated[
        int | None,
        typer.Option(
            help="How many, drawn from the text's sentences; each sentence once by default."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same voices, sentences and rates.")
    ] = 0,
    jobs: Jobs = None,
) -> None:
    """Make speech from text with espeak-ng in many voices: a corpus for tests and first tries."""
    with exits():
        from w2v2cli.data.corpora.synthesis import read_text, synthesize

        workers = _workers(jobs)
        with progress("speaking") as advance:
            readings = synthesize(
                read_text(text), output, voices, utterances, seed, workers, advance
            )
        speakers = len({reading.voice.speaker for reading in readings})
        say(f"{output}: {len(readings)} utterances by {speakers} voices.")


@app.command()
def shard(
    corpora: Annotated[
        list[str], typer.Argument(help="Corpora by name or path.", metavar="CORPUS...")
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The folder for shard-NNNNNN.tar and their indexes."),
    ],
    shard_mb: Annotated[
        float | None,
        typer.Option("--shard-mb", help="Size of a shard, about; 1000 by default.", min=0.01),
    ] = None,
    shard_hours: Annotated[
        float | None, typer.Option("--shard-hours", help="Or its audio, about.", min=0.0001)
    ] = None,
    jobs: Jobs = None,
    seed: Annotated[int, typer.Option(help="Draws the order: a shard mixes speakers.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds the corpora named; else $W2V2_DATA.")
    ] = None,
) -> None:
    """Pack recordings into WebDataset shards, which pretrain and finetune stream. A second call does only the rest.

    Recordings that cannot be read are left out and named, exit code 1.
    """
    with exits():
        if shard_mb is not None and shard_hours is not None:
            raise UsageError("--shard-mb and --shard-hours are two ways to say the same: give one.")
        from w2v2cli.data.corpora.catalogue import find_training_corpus
        from w2v2cli.data.shards.writer import write_shards

        workers = _workers(jobs)
        with progress("listing") as advance:
            utterances = [
                utterance for name in corpora for utterance in find_training_corpus(name, data)
            ]
            made = write_shards(
                utterances,
                output,
                shard_bytes=None if shard_mb is None else shard_mb * 1e6,
                shard_seconds=None if shard_hours is None else shard_hours * 3600,
                jobs=workers,
                seed=seed,
                progress=lambda done, total: advance(done, total, "packing"),
            )
        _name_some(made.failures)
        skipped = f", {made.skipped} of them finished before" if made.skipped else ""
        say(
            f"{output}: {made.shards} shards{skipped}, {made.recordings} recordings, {made.hours:.2f} hours."
        )
        if made.failures:
            raise UserError(
                f"{len(made.failures)} recordings cannot be read; the shards are without them."
            )


def _print_summary(prepared: Sequence[Prepared]) -> None:
    """A table on stdout: one row for each split."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for heading in ("split", "utterances", "hours", "speakers"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for part in prepared:
        found = part.found
        table.add_row(
            part.name, str(len(found.utterances)), f"{found.hours:.2f}", str(found.speakers)
        )
    Console(highlight=False).print(table)


def _tell(found: Scan) -> None:
    """Duplicates and what could not be read, by name."""
    duplicates = found.duplicates
    for paths in duplicates[:NAMED]:
        say(f"The same content: {', '.join(map(str, paths))}")
    if len(duplicates) > NAMED:
        say(f"... and {len(duplicates) - NAMED} more groups of files with the same content.")
    _name_some([reason for _, reason in found.failures])


def _name_some(reasons: Sequence[str]) -> None:
    for reason in reasons[:NAMED]:
        say(reason)
    if len(reasons) > NAMED:
        say(f"... and {len(reasons) - NAMED} more.")


def _workers(jobs: int | None) -> int:
    """How many processes `--jobs` asks for; the processors this process may use by default."""
    import os

    if jobs is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}.")
    return jobs
