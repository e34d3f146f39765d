"""The compiled library through ctypes; each call releases the interpreter's lock."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from ctypes import (
    Structure,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

import numpy as np

FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "error": (c_char_p, []),
    "arpa_new": (c_void_p, []),
    "arpa_feed": (c_int, [c_void_p, c_char_p, c_size_t]),
    "arpa_write": (c_int, [c_void_p, c_char_p]),
    "arpa_free": (None, [c_void_p]),
    "keys_join": (c_void_p, [c_void_p, c_uint64, c_uint64, *[c_void_p] * 4, c_uint64]),
    "keys_count": (c_uint64, [c_void_p]),
    "keys_copy": (None, [c_void_p] * 4),
    "keys_free": (None, [c_void_p]),
    "lm_open": (c_void_p, [c_char_p]),
    "lm_close": (None, [c_void_p]),
    "lm_facts": (None, [c_void_p, c_void_p]),
    "lm_index": (None, [c_void_p, c_char_p, c_uint64, c_void_p]),
    "lm_score": (None, [c_void_p, c_void_p, c_void_p, c_uint64, c_void_p, c_void_p]),
    "engine_new": (c_void_p, [c_void_p, c_void_p, c_uint64, *[c_void_p] * 5, c_uint64]),
    "engine_favour": (c_int, [*[c_void_p] * 4, c_uint64]),
    "engine_join": (c_int, [*[c_void_p] * 3, c_uint64, c_double]),
    "engine_raise": (c_int, [c_void_p, c_void_p, c_uint64]),
    "engine_free": (None, [c_void_p]),
    "search": (c_void_p, [*[c_void_p] * 4, c_int32, c_int32, c_int32, c_void_p]),
    "found": (c_int32, [c_void_p, c_int32]),
    "hypothesis": (c_int32, [c_void_p, c_int32, c_int32, *[c_void_p] * 3]),
    "lattice_sizes": (None, [c_void_p, c_int32, c_void_p]),
    "lattice": (None, [c_void_p, c_int32, *[c_void_p] * 5]),
    "spelling": (c_int32, [c_void_p, c_uint32, c_void_p, c_int32]),
    "posteriors": (c_int, [*[c_void_p] * 3, c_uint64, c_uint64, c_double, c_void_p]),
    "least_risk": (
        c_int32,
        [*[c_void_p] * 4, c_uint64, c_uint64, c_double, c_void_p, c_int32, c_void_p, c_void_p],
    ),
    "free": (None, [c_void_p]),
    "estimate_new": (c_void_p, []),
    "estimate_free": (None, [c_void_p]),
    "estimate_error": (c_char_p, [c_void_p]),
    "estimate_errno": (c_int, [c_void_p]),
    "estimate_stop": (None, [c_void_p]),
    "estimate_begin": (c_int, [c_void_p, c_int, c_uint64, c_char_p]),
    "estimate_feed": (c_int, [c_void_p, c_char_p, c_uint64]),
    "estimate_limit": (c_int, [c_void_p, c_uint64]),
    "estimate_allow": (c_int, [c_void_p, c_char_p, c_uint64]),
    "estimate_count": (c_int, [c_void_p] * 4),
    "estimate_discount": (c_int, [c_void_p] * 2),
    "estimate_text": (c_int, [c_void_p] * 3),
    "estimate_vocabulary": (c_int, [c_void_p] * 3),
    "estimate_facts": (None, [c_void_p] * 2),
    "stream_new": (c_void_p, [c_void_p, c_void_p, c_int32]),
    "stream_free": (None, [c_void_p]),
    "stream_advance": (c_int32, [c_void_p, c_void_p, c_int32, c_int32, c_void_p, c_void_p]),
    "stream_end": (c_int32, [c_void_p, c_void_p, c_void_p]),
}


class NativeMissing(ValueError):
    """The package was installed without its compiled part."""


class SearchOptions(Structure):
    """`Options` of search.h."""

    _fields_ = [
        *(
            (name, c_double)
            for name in (
                "lm_weight",
                "word_score",
                "unk_score",
                "sil_score",
                "beam_threshold",
                "lattice_beam",
                "skip_blank",
            )
        ),
        *(
            (name, c_int32)
            for name in (
                "beam",
                "beam_tokens",
                "nbest",
                "silence",
                "blank",
                "unknown_word",
                "by_state",
                "lattice",
            )
        ),
    ]


class SearchContext(Structure):
    """`Context` of search.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("words", "ends", "scores")),
        *((name, c_int32) for name in ("entries", "goes_on", "exits")),
    ]


class Native:
    """The functions of interface.cpp, named without their prefix `w2v2_`."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        function = getattr(self._library, f"w2v2_{name}")
        function.restype, function.argtypes = FUNCTIONS[name]
        setattr(self, name, function)
        return function

    def reason(self) -> str:
        """The error message of the last call that failed in this thread."""
        return bytes(self.error()).decode("utf-8", "replace")


def is_built() -> bool:
    """Whether the package was installed with its compiled library."""
    return importlib.util.find_spec("lm.native._native") is not None


@functools.cache
def native() -> Native:
    """The library, opened once. Raises NativeMissing where it was not built."""
    spec = importlib.util.find_spec("lm.native._native")
    if spec is None or spec.origin is None:
        raise NativeMissing(
            "The compiled search was not built: install a C++ compiler, then w2v2 again "
            "(pip install .)."
        )
    return Native(spec.origin)


def pointer(array: np.ndarray | None) -> Any:
    """The address of a contiguous array's data; None for None."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data
