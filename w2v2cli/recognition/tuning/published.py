"""The weights that the paper's authors found, by model and language model.

Baevski et al. (2020), "wav2vec 2.0", arXiv 2006.11477v3. The model and the language model decide;
weights of one's own tuning (`kept`) and those given by hand go before these.
"""

from __future__ import annotations

from dataclasses import dataclass

from lm.decoding import DecodingWeights
from w2v2cli.data.locations import LmKind, LmLocation, ModelLocation

# (labels, pretrained on): with LibriSpeech's 4-gram, and with its Transformer; LM weight and word
# score. Table 7 has the models pretrained on LibriSpeech, table 8 those on Libri-Light (LV-60k).
FOUND: dict[tuple[str, str], tuple[tuple[float, float], tuple[float, float]]] = {
    ("10 min", "LS-960"): ((3.23, -0.26), (1.20, -1.39)),
    ("1 h", "LS-960"): ((2.90, -1.62), (1.15, -2.08)),
    ("10 h", "LS-960"): ((2.46, -0.59), (1.06, -2.32)),
    ("100 h", "LS-960"): ((2.15, -0.52), (0.87, -1.00)),
    ("960 h", "LS-960"): ((1.74, 0.52), (0.92, -0.86)),
    ("10 min", "LV-60k"): ((3.86, -1.18), (1.47, -2.82)),
    ("1 h", "LV-60k"): ((3.09, -2.33), (1.33, -0.69)),
    ("10 h", "LV-60k"): ((2.12, -0.90), (0.94, -1.05)),
    ("100 h", "LV-60k"): ((2.15, -0.52), (0.87, -1.00)),
    ("960 h", "LV-60k"): ((1.57, -0.64), (0.90, -0.31)),
}
TABLES = {"LS-960": 7, "LV-60k": 8}
# What each published model with an output layer was trained on. The self-trained one is of a later
# paper, which gives no weights: it starts from those of the model that it was made with.
MODELS = {
    "base-100h": ("100 h", "LS-960"),
    "base-960h": ("960 h", "LS-960"),
    "large-960h": ("960 h", "LS-960"),
    "large-lv60k-960h": ("960 h", "LV-60k"),
    "large-lv60k-960h-self": ("960 h", "LV-60k"),
}
# For every other pair: the start of the paper's tuning of n-grams (§4.4), and what it found for a
# Transformer with 100 h of labels (table 7).
STARTING: dict[LmKind, tuple[float, float]] = {
    "arpa": (2.0, -1.0),
    "kenlm": (2.0, -1.0),
    "transformer": FOUND["100 h", "LS-960"][1],
}


@dataclass(frozen=True)
class Untuned:
    """The weights that count before any tuning."""

    weights: DecodingWeights
    source: str | None
    """Whose they are, in words that follow the weights; None for those of all other models."""


def untuned_weights(model: ModelLocation, lm: LmLocation) -> Untuned:
    """The weights of a model and a language model that nobody has tuned here."""
    if lm.weights is not None:
        return Untuned(lm.weights, "as language_model/attrs.json has it")
    trained = MODELS.get(model.name.partition("@")[0])
    if trained is None or lm.owner != "librispeech":
        return Untuned(DecodingWeights(*STARTING[lm.kind]), None)
    pair = FOUND[trained][1 if lm.kind == "transformer" else 0]
    source = f"which the paper found for {' of '.join(trained)} (table {TABLES[trained[1]]})"
    return Untuned(DecodingWeights(*pair), source)
