"""`w2v2 data`: corpora looked into, fetched and made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.console import progress, say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from w2v2cli.data.scanning import Scan

app = typer.Typer(help="Look into corpora, prepare and make them.", no_args_is_help=True)

NAMED = 20  # unreadable files and duplicates that are named one by one

Jobs = Annotated[int | None, typer.Option(help="Processes at once; as many as there are processors by default.")]


@app.command()
def scan(
    corpus: Annotated[Path, typer.Argument(help="A folder of recordings, a corpus or a manifest.", metavar="DIR")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write: .jsonl, or .tsv for fairseq.")],
    jobs: Jobs = None,
    hash: Annotated[bool, typer.Option(help="Read every byte for a SHA-256, which finds duplicates.")] = True,
    decode: Annotated[bool, typer.Option(help="Decode every recording to its end, which finds hidden damage.")] = False,
) -> None:
    """Write a manifest: length, rate, speaker, hash and text of every recording. Unreadable ones are named, exit code 1."""
    with exits():
        if output.suffix not in (".jsonl", ".tsv"):
            raise UsageError(f"{output} should end in .jsonl, or in .tsv for fairseq.")
        from w2v2cli.data.corpora import list_corpus
        from w2v2cli.data.manifest import write_fairseq
        from w2v2cli.data.scanning import scan as scan_all
        from w2v2cli.data.scanning import whole_files, write_manifest

        workers = _workers(jobs)
        with progress("listing") as advance:
            utterances = list_corpus(corpus)
            found = scan_all(utterances, workers, hash, decode, lambda done, total: advance(done, total, "scanning"))
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
            raise UserError(f"{len(found.failures)} of {len(utterances)} recordings cannot be read.")


def _tell(found: Scan) -> None:
    """Duplicates and what could not be read, by name."""
    duplicates = found.duplicates
    for paths in duplicates[:NAMED]:
        say(f"The same content: {', '.join(map(str, paths))}")
    if len(duplicates) > NAMED:
        say(f"... and {len(duplicates) - NAMED} more groups of files with the same content.")
    for _, reason in found.failures[:NAMED]:
        say(reason)
    if len(found.failures) > NAMED:
        say(f"... and {len(found.failures) - NAMED} more.")


def _workers(jobs: int | None) -> int:
    """How many processes `--jobs` asks for; the processors this process may use by default."""
    import os

    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}.")
    return jobs
