"""One transcribed recording as ranks pass it to the first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TranscribedRow:
    """One recording that a rank has transcribed, or could not."""

    text: str | None = None
    """What goes to stdout; None where a file was written, or for an error."""
    error: str | None = None
    """Why there is no transcript."""
    cut_short: str | None = None
    """Why the recording ends early, where the transcript is only of what is there."""

    left_out: int = 0
    """Segments that are not in the manifest, as less sure than was asked for."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> TranscribedRow:
        """The row that `to_json` wrote."""
        return cls(json["text"], json["error"], json.get("cut_short"), json.get("left_out", 0))
