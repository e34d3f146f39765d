"""A server on this machine that speaks as much of the hub's protocol as its client asks."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.torture.supervision import ROOT

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "num_conv_pos_embeddings": 16}
SIZES |= {"num_conv_pos_embedding_groups": 4, "vocab_size": 32}


def hub_server() -> Any:
    """The server that the tests ask, not started."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        return importlib.import_module("hub_server").HubServer()
    finally:
        sys.path.pop(0)


def hub_of(folder: Path) -> dict[str, str]:
    """Start a server with `org/name`; return the variables by which it is found."""
    hub = hub_server()
    hub.publish("org/name", written(folder / "written"))
    hub.start()
    return {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}


def written(folder: Path) -> dict[str, bytes]:
    """The files of a small model as transformers writes them, from a process of its own."""
    import subprocess

    from models.importers.labels import STANDARD

    folder.mkdir()
    config = {**SIZES, "conv_dim": [16] * 7}
    script = "import json, sys, transformers as t; f, c = sys.argv[1], json.loads(sys.argv[2]); "
    script += "t.Wav2Vec2ForCTC(t.Wav2Vec2Config(**c)).save_pretrained(f); "
    script += "t.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(f)"
    subprocess.run([sys.executable, "-c", script, str(folder), json.dumps(config)], check=True)
    vocabulary = {symbol: number for number, symbol in enumerate(STANDARD)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    return {path.name: path.read_bytes() for path in folder.iterdir()}
