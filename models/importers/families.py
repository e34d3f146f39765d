"""The model types of transformers that are this network, and their relatives that are not.

Nothing heavy is imported here: the hub's cache is searched by these names without torch.
"""

from __future__ import annotations

from typing import Any

# The model types that are this network, and the prefix of their weights.
FAMILIES = {
    "wav2vec2": "wav2vec2.",
    "hubert": "hubert.",
    "unispeech": "unispeech.",
    "unispeech-sat": "unispeech_sat.",
}

# Relatives of other architectures, and what sets them apart.
RELATIVES = {
    "wavlm": "its attention has gated relative position biases",
    "wav2vec2-conformer": "its blocks are Conformers, with convolutions and relative positions",
    "wav2vec2-bert": "its input is a spectrogram and its blocks are Conformers",
    "sew": "it squeezes the frames before the Transformer and stretches them after it",
    "sew-d": "it squeezes the frames, and its attention is DeBERTa's",
    "data2vec-audio": "its positions come from several convolutions with norms",
}

# Heads of these networks that write no text, by the end of their class's name.
OTHER_HEADS = {
    "ForSequenceClassification": "it sorts whole recordings into classes",
    "ForAudioFrameClassification": "it sorts frames into classes",
    "ForXVector": "it compares speakers",
}


def why_unreadable(settings: dict[str, Any], model: object) -> str | None:
    """Why a model cannot be read, as far as its `config.json` tells; None for one that can.

    model: its name in the sentence.
    """
    kind = settings.get("model_type")
    if isinstance(kind, str) and kind in RELATIVES:
        return (
            f"{model} holds a {kind!r} model, which is not the network of wav2vec 2.0: "
            f"{RELATIVES[kind]}."
        )
    if kind is None:
        return f"{model} is no model that can be read: its config.json names no model_type."
    if not isinstance(kind, str) or kind not in FAMILIES:
        return f"{model} holds a {kind!r} model, not wav2vec2."
    names = settings.get("architectures")
    for name in names if isinstance(names, list) else []:
        for head, reason in OTHER_HEADS.items():
            if str(name).endswith(head):
                return f"{model} holds a {name}, which writes no text: {reason}."
    return None
