"""The experiments of the paper in one command, to one page with plots and every number.

    python -m benchmarks.paper --scale tiny --data DATA

`tiny` is planned for two hours of two cores, `small` for half an hour of a GPU; both use recordings
that DATA holds (ljspeech, kathleen, librispeech-train, librispeech-test-other and cmudict).
`paper` is BASE on LibriSpeech and Libri-light by the paper's recipes: `--dry-run` prints every
command, and without it they run where DATA holds the corpora.

The experiment is cells, each with a file of figures in OUT/cells. Stopped at any moment, also by
SIGTERM or Ctrl-C, the same call goes on. A cell that fails is told, and the others are done; the
next call tries it again. The page, OUT/page.html and OUT/page.md, is written after every call from
the cells that are done.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper.cells import TABLES, Cell, cells_of, chosen
from benchmarks.paper.data import check_data
from benchmarks.paper.jobs import Place, Stopped, shell_lines
from benchmarks.paper.page import publish, write_page
from benchmarks.paper.planning import plan_lines
from benchmarks.paper.running import (
    STOPPED,
    carry_out,
    is_done,
    own_command,
    run_beside,
    run_here,
)
from benchmarks.paper.scales import SCALES, Scale, scaled
from storage.whole import write_whole
from w2v2cli.console import say
from w2v2cli.errors import INTERRUPTED, UsageError, UserError, exits
from w2v2cli.processes import killed_with, usable_cores

SHARED = Path("../shared/data")


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scale", choices=sorted(SCALES), default="tiny", metavar="{tiny,small,paper}"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the corpora (default: $W2V2_DATA, else ../shared/data)",
    )
    parser.add_argument("-o", "--output", type=Path, help="folder (default: paper-SCALE)")
    parser.add_argument(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"only these tables ({', '.join(TABLES)}) or cells, and what they need",
    )
    parser.add_argument("--plan", action="store_true", help="print cells and minutes, do nothing")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, do nothing")
    parser.add_argument("--page", action="store_true", help="write the page, do nothing else")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="FILE",
        help="write the Markdown page to FILE, its plots to images/ beside it, do nothing else",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        help="processes at once (default: one for each core, 8 on a GPU, 1 for paper); "
        "0: all in this process",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--budget",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="times as many updates, to try the command (0.01) or to give it longer",
    )
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def place_of(args: argparse.Namespace) -> Place:
    """Where the call works. Raises UsageError for another experiment in the same folder."""
    if not args.budget > 0:
        raise UsageError(f"--budget must be above 0, got {args.budget:g}.")
    scale = scaled(SCALES[args.scale](), args.budget)
    data = args.data or Path(os.environ.get("W2V2_DATA", SHARED))
    output = (args.output or Path(f"paper-{args.scale}")).absolute()
    workers = max(usable_cores() // (jobs_of(args, scale) or 1), 1)
    return Place(output, data.absolute(), scale, args.device, workers, say, budget=args.budget)


def claim(place: Place) -> None:
    """Keep what the folder is of. Raises UsageError for another scale or budget than it has."""
    mine = {"scale": place.scale.name, "budget": place.budget}
    path = place.output / "experiment.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        place.output.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(mine) + "\n")
        return
    except ValueError:
        raise UserError(f"{path} is damaged: delete it.") from None
    if found != mine:
        raise UsageError(
            f"{place.output} holds the scale {found.get('scale')} with the budget "
            f"{found.get('budget')}: name another folder by -o."
        )


def check_corpora(place: Place) -> None:
    """Raise UserError where the data is not there."""
    if place.scale.own_data:
        check_data(place.data)
    elif not place.data.is_dir():
        raise UserError(
            f"{place.data} is not there: give the folder of LibriSpeech and Libri-light by --data "
            "(`w2v2 data prepare` fetches LibriSpeech), or print the commands by --dry-run."
        )


def run(args: argparse.Namespace, cells: list[Cell], place: Place) -> int:
    """Do the cells and write the page; returns the exit code."""
    check_corpora(place)
    claim(place)
    jobs = jobs_of(args, place.scale)
    try:
        if jobs:

            def command(cell: Cell) -> list[str]:
                return own_command(cell, place, jobs, args.budget)

            report = run_beside(cells, place, jobs, command, say)
        else:
            report = run_here(cells, place, say)
    except KeyboardInterrupt:
        say("Stopped: the same call goes on.")
        return INTERRUPTED
    finally:
        write_page(cells_of(place.scale), place)
    done = sum(is_done(place, cell) for cell in cells)
    say(f"{done} of {len(cells)} cells are done. The page is {place.output / 'page.html'}.")
    if report.stopped:
        say("Stopped: the same call goes on.")
    elif report.failed:
        needing = f", {len(report.left_out)} need them" if report.left_out else ""
        say(f"Failed: {', '.join(report.failed)}{needing}. The same call tries them again.")
        return 1
    return 0


def jobs_of(args: argparse.Namespace, scale: Scale) -> int:
    """Processes at once. Raises UsageError for a negative number."""
    if args.jobs is None:
        return scale.jobs or usable_cores()
    if args.jobs < 0:
        raise UsageError(f"--jobs cannot be negative, got {args.jobs}.")
    return int(args.jobs)


def main(words: Sequence[str] | None = None) -> int:
    """Carry out a call; returns the exit code."""
    args = options(words)
    place = place_of(args)
    cells = cells_of(place.scale)
    if args.cell is not None:
        [cell] = [cell for cell in cells if cell.name == args.cell]
        killed_with(os.getppid())
        try:
            carry_out(cell, place)
        except Stopped:
            return STOPPED
        return 0
    cells = chosen(cells, args.only)
    if args.plan:
        print("\n".join(plan_lines(cells, place, jobs_of(args, place.scale) or 1)))
    elif args.dry_run:
        for cell in cells:
            print(f"# {cell.name}\n{shell_lines(cell.job.command(place, cell.name))}")
    elif args.publish is not None:
        if place.output.is_dir():
            claim(place)
        publish(cells_of(place.scale), place, args.publish)
        print(args.publish)
    elif args.page:
        write_page(cells_of(place.scale), place)
        print(place.output / "page.html")
    else:
        return run(args, cells, place)
    return 0


if __name__ == "__main__":
    with exits():
        sys.exit(main())
