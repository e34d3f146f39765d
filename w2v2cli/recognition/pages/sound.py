"""Sound inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile

from models.config import SAMPLE_RATE


def sound_uri(samples: np.ndarray) -> str:
    """(S,) float32 at 16 kHz as a data URI of FLAC, which every browser of today plays.

    FLAC keeps the times exactly, and every sample as 16 bits. What is louder than full scale is
    made quieter as a whole.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    held = io.BytesIO()
    soundfile.write(held, samples / max(peak, 1.0), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(held.getvalue()).decode()}"
