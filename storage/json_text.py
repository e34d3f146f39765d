"""JSON from files that others wrote: a value, or the reason why there is none.

Python's own reader also raises RecursionError for lists in lists in lists, and a sentence about its
settings for numbers of thousands of digits. It also makes strings of half letters, which can be
neither printed nor written.
"""

from __future__ import annotations

import json
from typing import Any

HALVES = ("\\ud", "\\uD")  # how an escape of half a letter begins


class JsonError(ValueError):
    """Text that is no JSON; the message is the reason, fit for the end of a sentence."""


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text, in UTF-8 if it is given as bytes. Raises JsonError."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = json.loads(text)
        if any(half in text for half in HALVES):
            # A byte of a file name that is not UTF-8 stands as such a half; it can be written.
            json.dumps(value, ensure_ascii=False).encode(errors="surrogateescape")
    except json.JSONDecodeError as error:
        raise JsonError(str(error)) from None
    except RecursionError:
        raise JsonError("its values are nested too deeply") from None
    except UnicodeDecodeError:
        raise JsonError("it is not UTF-8 text") from None
    except UnicodeEncodeError:
        raise JsonError("it holds half of a surrogate pair, which is no letter") from None
    except ValueError:
        raise JsonError("it has a number of thousands of digits") from None
    return value


def written(value: Any) -> str:
    """A value as JSON for a UTF-8 file: in letters, or in escapes where a name is not UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    return text if is_text(text) else json.dumps(value)


def is_text(text: str) -> bool:
    """Whether a string can be written in UTF-8, as names of files may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
