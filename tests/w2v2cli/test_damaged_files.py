"""Every command answers a damaged model, language model or lexicon with one sentence."""

import gzip
import os
import pickle
from pathlib import Path

import pytest
from typer.testing import CliRunner

from w2v2cli.app import app
from w2v2cli.data.locations import DEMO_LM, DEMO_MODEL, DEMO_TRANSFORMER, SHIPPED

RECORDING = str(min((SHIPPED / "recordings").glob("*.flac")))
CORPUS = str(SHIPPED / "corpus" / "dev-clean")


class Code:
    mark = ""

    def __reduce__(self):
        return os.system, (f"touch {Code.mark}",)


def huggingface(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    (folder / "vocab.json").write_text("[")
    (folder / "model.safetensors").write_bytes(DEMO_MODEL.read_bytes()[:5000])
    return folder


def damaged(kind: str, folder: Path) -> Path:
    """A file that is not what its name says."""
    if kind == "folder":
        return huggingface(folder / "model")
    name, content = {
        "model cut": ("a.safetensors", DEMO_MODEL.read_bytes()[:-1000]),
        "model header": (
            "a.safetensors",
            DEMO_MODEL.read_bytes().replace(b"format_version", b"formal_version", 1),
        ),
        "code": ("a.pt", pickle.dumps(Code())),
        "text": ("a.pt", b"hello"),
        "arpa cut": ("a.arpa", gzip.decompress(DEMO_LM.read_bytes())[:20_000]),
        "arpa binary": ("a.arpa", b"\\data\\\n\xff\xfe\n"),
        "transformer cut": ("a.safetensors", DEMO_TRANSFORMER.read_bytes()[:-100]),
        "transformer header": (
            "a.safetensors",
            DEMO_TRANSFORMER.read_bytes().replace(b"format_version", b"formal_version", 1),
        ),
        "lexicon": ("a.txt", b"\xff\xfe\x00"),
    }[kind]
    (folder / name).write_bytes(content)
    return folder / name


MODELS = ("model cut", "model header", "code", "text", "folder")
LMS = ("arpa cut", "arpa binary", "transformer cut", "transformer header", "code", "text")
CALLS = [
    *[(kind, "model info FILE") for kind in MODELS],
    *[(kind, f"transcribe {RECORDING} --model FILE") for kind in MODELS],
    ("model cut", "model convert FILE OUT.safetensors"),
    ("model header", f"eval --data {CORPUS} --model FILE"),
    ("folder", f"tune-lm --data {CORPUS} --model FILE --lm {DEMO_LM} --trials 2"),
    ("model cut", f"finetune {CORPUS} -o OUT --model FILE --recipe demo --dry-run"),
    *[(kind, f"transcribe {RECORDING} --lm FILE") for kind in LMS],
    ("transformer header", f"transcribe {RECORDING} --lm 4gram --rescore FILE"),
    *[(kind, "lm info FILE") for kind in LMS if kind != "arpa cut"],  # it reads the counts only
    *[(kind, f"lm score FILE {__file__}") for kind in LMS],
    ("lexicon", f"transcribe {RECORDING} --lm 4gram --lexicon FILE"),
    ("lexicon", f"transcribe {RECORDING} --lm 4gram --hotwords FILE"),
]


@pytest.mark.parametrize(
    ("kind", "call"),
    CALLS,
    ids=[f"{kind}: {call.replace(f'{SHIPPED}/', '')}" for kind, call in CALLS],
)
def test_a_damaged_file_is_one_sentence(kind, call, tmp_path):
    Code.mark = tmp_path / "it_ran"
    path = damaged(kind, tmp_path)
    words = {"FILE": str(path), "OUT": str(tmp_path / "out")}
    args = [words.get(word, word) for word in call.split()]
    result = CliRunner().invoke(app, args)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and path.name in errors[0]
    assert result.stderr.splitlines()[-1] == errors[0]
    assert not Code.mark.exists()
