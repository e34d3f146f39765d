"""wav2vec 2.0: transcribe, evaluate, tune, fine-tune and pretrain from Python.

    import w2v2

    with w2v2.load("base-960h", lm="4gram", beam=500) as model:
        print(model.transcribe("talk.flac").text)

The commands of `w2v2` call the same functions. `docs/python.md` has an example for each. Importing
this package imports nothing heavy: torch comes with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from w2v2cli import __version__ as __version__

if TYPE_CHECKING:
    from w2v2.recognition import align, evaluate, load, load_checkpoint, tune
    from w2v2cli.errors import UsageError, UserError
    from w2v2cli.recognition.aligning.alignment import Alignment
    from w2v2cli.recognition.options import DecodingOptions
    from w2v2cli.recognition.recognizer import Recognizer
    from w2v2cli.recognition.scoring.results import Evaluation
    from w2v2cli.recognition.transcript import Segment, TimedWord, Transcript
    from w2v2cli.recognition.tuning.session import TuningResult
    from w2v2cli.training.runs.finetune import finetune
    from w2v2cli.training.runs.pretrain import pretrain
    from w2v2cli.training.runs.result import RunResult

__all__ = [
    "Alignment",
    "DecodingOptions",
    "Evaluation",
    "Recognizer",
    "RunResult",
    "Segment",
    "TimedWord",
    "Transcript",
    "TuningResult",
    "UsageError",
    "UserError",
    "__version__",
    "align",
    "evaluate",
    "finetune",
    "load",
    "load_checkpoint",
    "pretrain",
    "tune",
]

_HOMES = {
    "Alignment": "w2v2cli.recognition.aligning.alignment",
    "DecodingOptions": "w2v2cli.recognition.options",
    "Evaluation": "w2v2cli.recognition.scoring.results",
    "Recognizer": "w2v2cli.recognition.recognizer",
    "RunResult": "w2v2cli.training.runs.result",
    "Segment": "w2v2cli.recognition.transcript",
    "TimedWord": "w2v2cli.recognition.transcript",
    "Transcript": "w2v2cli.recognition.transcript",
    "TuningResult": "w2v2cli.recognition.tuning.session",
    "UsageError": "w2v2cli.errors",
    "UserError": "w2v2cli.errors",
    "align": "w2v2.recognition",
    "evaluate": "w2v2.recognition",
    "finetune": "w2v2cli.training.runs.finetune",
    "load": "w2v2.recognition",
    "load_checkpoint": "w2v2.recognition",
    "pretrain": "w2v2cli.training.runs.pretrain",
    "tune": "w2v2.recognition",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'w2v2' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
