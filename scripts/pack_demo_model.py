"""Convert the best checkpoint of the demo run to the file that ships, in half precision.

python scripts/pack_demo_model.py RUN/best.safetensors w2v2cli/shipped/demo.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

CARD = {
    "source": "trained with this repository (scripts/ and w2v2 finetune)",
    "data": "3 hours of LJSpeech, kathleen and LibriSpeech's train-clean (public domain, CC0, "
    "CC BY 4.0), 11 hours of synthetic speech (flite, espeak-ng, Kokoro)",
    "licence": "MIT; the data is free, see the card",
    "knows": "the voices of five readers; mishears others",
    "card": "w2v2cli/shipped/MODEL_CARD.md",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    read = load_checkpoint(args.checkpoint)
    save_checkpoint(
        args.target, Checkpoint(read.config, read.weights, read.labels, CARD), half=True
    )


if __name__ == "__main__":
    main()
