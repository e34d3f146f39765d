"""The model types of transformers that are this network, and their relatives that are not.

Nothing heavy is imported here: the hub's cache is searched by these names without torch.
"""

from __future__ import annotations

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
