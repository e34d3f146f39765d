"""Compare fine-tuning on ten labelled minutes with and without pretraining, on two cores.

    python -m scripts.pretraining_experiment LABELLED UNLABELLED... -o DIR

LABELLED is a corpus of one reader. Its ids decide the parts, by `split_of`: ten minutes of the
training part are learned from, the dev part is for validation. Runs `w2v2 pretrain --recipe small`
on all audio (that of the dev part too, without its text), then `w2v2 finetune` twice with the same
settings, from the pretrained checkpoint and from random weights. Prints both curves, and evaluates
both on dev and test with the shipped 4-gram. A run that has ended in DIR is not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.corpora.readers import Utterance, read_corpus
from w2v2cli.data.locations import DEMO_LEXICON, DEMO_LM

LABELLED_SECONDS = 600.0
# Eighty epochs of ten minutes.
FINETUNING = [
    *"--recipe demo --updates 1200 --peak-lr 1e-3 --batch-seconds 40 --log-every 100".split(),
    *("--set", "validate_every=100", "--set", "speeds=0.9,1.0,1.1"),
    *("--set", "mask.time_probability=0.05", "--set", "mask.time_span=8"),
]


def w2v2(*args: object) -> None:
    """Run the command."""
    subprocess.run([sys.executable, "-m", "w2v2cli", *map(str, args)], check=True)


def manifest(utterances: list[Utterance], path: Path) -> None:
    """Write a manifest of utterances."""
    rows = (
        {"id": u.id, "audio_filepath": str(u.path.resolve()), "text": u.text} for u in utterances
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def ten_minutes(utterances: list[Utterance]) -> list[Utterance]:
    """Return ten minutes of the training part, drawn with a fixed seed."""
    train = [u for u in utterances if split_of(u.id) == "train"]
    random.Random(0).shuffle(train)
    chosen, total = [], 0.0
    for utterance in train:
        if total + (utterance.seconds or 0.0) <= LABELLED_SECONDS:
            chosen.append(utterance)
            total += utterance.seconds or 0.0
    return chosen


def curve(run: Path) -> list[tuple[int, float, float]]:
    """Return update, WER and CER of each validation of a run."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(row["update"], row["wer"], row["cer"]) for row in rows if "wer" in row]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labelled", type=Path)
    parser.add_argument("unlabelled", type=Path, nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus(args.labelled)
    train, valid = args.output / "ten-minutes.jsonl", args.output / "dev.jsonl"
    manifest(ten_minutes(corpus), train)
    manifest([u for u in corpus if split_of(u.id) == "dev"], valid)
    manifest([u for u in corpus if split_of(u.id) == "test"], args.output / "test.jsonl")
    pretrained = args.output / "pretrained"
    w2v2("pretrain", args.labelled, *args.unlabelled, "-o", pretrained, "--recipe", "small")
    for name, start in (
        ("from-pretrained", pretrained / "best.safetensors"),
        ("from-random", "small-config"),
    ):
        out = args.output / name
        w2v2("finetune", train, "--valid", valid, "-o", out, "--model", start, *FINETUNING)
    print("update  pretrained WER  CER    random WER  CER")
    curves = (curve(args.output / name) for name in ("from-pretrained", "from-random"))
    for (update, wer, cer), (_, other_wer, other_cer) in zip(*curves, strict=True):
        print(
            f"{update:>6}  {wer:>14.1%}  {cer:>5.1%}  {other_wer:>10.1%}  {other_cer:>5.1%}",
            flush=True,
        )
    for part in (valid, args.output / "test.jsonl"):
        for name in ("from-pretrained", "from-random"):
            model = args.output / name / "best.safetensors"
            lm = ("--lm", DEMO_LM, "--lexicon", DEMO_LEXICON)
            w2v2("eval", "--data", part, "--model", model, *lm, "--worst", 0)


if __name__ == "__main__":
    main()
