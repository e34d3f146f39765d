"""Convert the best checkpoint of `w2v2 lm train --recipe demo` to the file that ships, in float16.

    python scripts/pack_demo_transformer.py RUN/best.safetensors OUT.safetensors

`scripts/build_demo_lm.py` writes the text that it was trained on. Half precision changes its
log-probabilities by about 1e-3.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lm.transformer.checkpoint import load_transformer, save_transformer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    checkpoint = load_transformer(args.checkpoint)
    texts = "novels, more-books and LJSpeech's training transcripts"
    source = f"{texts}, as scripts/build_demo_lm.py writes them"
    packed = replace(checkpoint, metadata={**checkpoint.metadata, "source": source})
    save_transformer(args.out, packed, half=True)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
