"""What transcripts of the model's own are worth: half of a corpus labelled, the other half not.

    python -m scripts.self_training OUT --corpus TRAIN --valid DEV --test TEST ... [--model demo]
        [--lm demo-4gram] [--share 0.5] [--min-confidence 0.9] [--updates 150]
        [--batch-seconds 40] [--peak 4e-4] [--arms labelled own true]

TRAIN is divided by the hashes of its ids. The model transcribes the unlabelled part with the
language model (`w2v2 transcribe --format manifest --min-confidence`), and the arms are fine-tuned
from it with the same updates, rate and seed:

    labelled   the labelled part alone
    own        the labelled part, and what the model is sure of in the other one
    true       both parts with their true transcripts: what labels would have been worth

Each arm is tested at the best path and with the language model, beside the first arm on the same
utterances (95%, a paired bootstrap over them). Prints the tables, and writes them to
OUT/self_training.md. The same call goes on where an earlier one was stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import w2v2
from lm.text.normalization import normalize_text
from storage.hashing import hash_of
from storage.whole import write_whole
from w2v2cli.data.corpora.manifest import write_jsonl
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.utterance import Utterance
from w2v2cli.recognition.scoring.comparing import differences
from w2v2cli.recognition.scoring.error_rate import align, total
from w2v2cli.recognition.scoring.results import Evaluation

ARMS = {"labelled": ("labelled",), "own": ("labelled", "sure"), "true": ("labelled", "rest")}
START = "before"  # the model that all arms begin with
ENDED = "ended.json"  # in an arm's folder, once its schedule came to its end


def divide(corpus: Sequence[Utterance], share: float, folder: Path) -> None:
    """Write `labelled.jsonl`, a share of a corpus, and `rest.jsonl`, the others with their text."""
    ranked = sorted(corpus, key=lambda utterance: hash_of(utterance.id))
    count = round(share * len(ranked))
    for name, part in (("labelled", ranked[:count]), ("rest", ranked[count:])):
        rows = (
            {"id": u.id, "audio_filepath": str(u.path), "duration": u.seconds, "text": u.text}
            for u in part
        )
        write_jsonl(rows, folder / f"{name}.jsonl")


def transcribe(folder: Path, model: str, lm: str, least: float) -> None:
    """Write `sure.jsonl`: what the model is sure of in the recordings of `rest.jsonl`."""
    recordings = [str(utterance.path) for utterance in read_corpus(folder / "rest.jsonl")]
    command = [sys.executable, "-m", "w2v2cli", "transcribe", *recordings, "--model", model]
    command += ["--lm", lm, "--format", "manifest", "--min-confidence", str(least)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if not found:
        raise SystemExit(
            f"The model is sure of none of {len(recordings)} recordings: lower --min-confidence."
        )
    write_whole(folder / "sure.jsonl", found)


def quality(folder: Path) -> str:
    """A sentence on what `sure.jsonl` has of `rest.jsonl`, and how right it is."""
    said = {utterance.path: utterance for utterance in read_corpus(folder / "rest.jsonl")}
    sure = read_corpus(folder / "sure.jsonl")
    counts = total(align(said[one.path].text or "", one.text or "").words for one in sure)
    minutes = [sum(one.seconds or 0 for one in part) / 60 for part in (sure, said.values())]
    words = sum(len(normalize_text(one.text or "").split()) for one in said.values())
    return (
        f"The model is sure of {len(sure)} of {len(said)} recordings ({minutes[0]:.1f} of "
        f"{minutes[1]:.1f} minutes, {counts.reference} of {words} words), with a WER of "
        f"{counts.rate:.1%} there."
    )


def train(folder: Path, arm: str, args: argparse.Namespace) -> None:
    """Fine-tune an arm, unless an earlier call did."""
    if (folder / arm / ENDED).is_file():
        return
    result = w2v2.finetune(
        [str(folder / f"{part}.jsonl") for part in ARMS[arm]],
        output=folder / arm,
        model=args.model,
        recipe="demo",
        valid=str(args.valid),
        settings={
            "schedule.updates": args.updates,
            "schedule.peak": args.peak,
            "batch_seconds": args.batch_seconds,
            "validate_every": args.updates,
            "save_every": args.updates,
            "seed": args.seed,
        },
        note=print,
        warn=print,
    )
    if not result.finished:
        raise SystemExit(f"Stopped by {result.stopped_by} at update {result.update}.")
    write_whole(folder / arm / ENDED, json.dumps({"wer": result.score}) + "\n")


def tested(folder: Path, name: str, model: str, test: Path, lm: str) -> Evaluation:
    """The errors of an arm on a corpus, of which an earlier call may have done a part."""
    output = folder / "tested" / f"{name}-{test.stem}-{lm}.jsonl"
    output.parent.mkdir(exist_ok=True)
    [found] = w2v2.evaluate(
        test, model=model, lm=lm, output=output, skip_existing=True, device="cpu", workers=1
    )
    return replace(found, name=name)


def table(folder: Path, args: argparse.Namespace) -> str:
    """Each arm on each test corpus, in Markdown."""
    models = {START: args.model} | {
        arm: str(folder / arm / "best.safetensors") for arm in args.arms
    }
    lines = ["| corpus | LM | trained on | WER % | points beside the first arm (95%) | p |"]
    lines.append("|---|---|---|---|---|---|")
    for test in args.test:
        for lm in ("none", args.lm):
            found = [tested(folder, name, model, test, lm) for name, model in models.items()]
            for one in found:
                [apart] = differences([found[1], one], seed=0)
                low, high = (f"{100 * bound:+.2f}" for bound in apart.interval)
                cells = [test.stem, lm, one.name, f"{100 * one.words.rate:.2f}"]
                cells += [f"{100 * apart.points:+.2f} ({low} to {high})", f"{apart.p_value:.3f}"]
                if one is found[1]:
                    cells[-2:] = ["", ""]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="demo", help="what the arms begin with")
    parser.add_argument("--lm", default="demo-4gram")
    parser.add_argument("--share", type=float, default=0.5, help="of TRAIN that is labelled")
    parser.add_argument("--min-confidence", type=float, default=0.9)
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--batch-seconds", type=float, default=40.0)
    parser.add_argument("--peak", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if not (args.output / "rest.jsonl").is_file():
        divide(read_corpus(args.corpus), args.share, args.output)
    if not (args.output / "sure.jsonl").is_file():
        transcribe(args.output, args.model, args.lm, args.min_confidence)
    page = [quality(args.output), ""]
    print(page[0], flush=True)
    for arm in args.arms:
        train(args.output, arm, args)
    page.append(table(args.output, args))
    print(page[-1])
    write_whole(args.output / "self_training.md", "\n".join(page))


if __name__ == "__main__":
    main()
