"""The settings of a training run: frozen dataclasses, one for each kind of run.

`recipes.py` has the named ones; `changed` replaces fields of one by name. P is the paper (arXiv
2006.11477), R the reference configurations published with fairseq.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from lm.text.normalizers import Normalizer
from lm.text.vocabulary import Units
from models.config import Wav2Vec2Config
from models.masking import SpanMask
from models.pretraining import Objective
from w2v2cli.data.loading.augmentation import Augmentation
from w2v2cli.errors import UsageError
from w2v2cli.recognition.devices import Precision
from w2v2cli.training.schedule import Annealing, TriStage

ARCHITECTURE = "architecture"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings that every training run has."""

    schedule: TriStage
    """Learning rate by update."""
    accumulate: int = 1
    """Micro-batches of one device whose gradients make one update."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of Adam's moments (R)."""
    eps: float = 1e-8
    """Added to Adam's denominator (R)."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW), of all weights but biases and norms."""
    clip_norm: float = 0.0
    """Largest gradient norm; 0 means no clipping (R)."""
    precision: Precision = "auto"
    """`bf16` and `fp16` run under autocast; weights, losses and norms stay in float32. `auto` asks
    the device when a run begins, and is settled by then (`run_folder.settled`)."""
    compile: bool = False
    """Whether each block goes through torch.compile; results differ by rounding only."""
    gradient_exchange: Literal["fp32", "bf16"] = "fp32"
    """Precision in which devices exchange gradients: `bf16` halves what they send, and rounds it to
    8 bits. One device alone exchanges nothing."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several devices share the network: `ddp` keeps it whole on each, `fsdp` (FSDP2) keeps a
    part of weights, gradients and moments on each. One device alone has all of it."""
    recompute: bool = False
    """Gradient checkpointing: the backward pass computes each block again instead of keeping its
    activations (less memory, slower)."""
    validate_every: int = 1000
    """Updates between two validations."""
    save_every: int = 500
    """Updates between two saved states; each validation saves one as well."""
    keep: int = 2
    """States kept on disk."""
    patience: int = 0
    """Validations in a row without a better result that end a run early; 0: it never ends early."""
    seed: int = 1
    """Seed of new weights, the order of data, masks and dropout."""

    def __post_init__(self) -> None:
        for name in ("accumulate", "validate_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.patience < 0:
            raise ValueError(f"patience cannot be negative, got {self.patience}")

    def accumulation(self, world: int) -> int:
        """Micro-batches that each of `world` devices accumulates for an update."""
        return self.accumulate


@dataclass(frozen=True, kw_only=True)
class AudioRunConfig(RunConfig):
    """Settings that every run on audio has."""

    architecture: tuple[tuple[str, Any], ...] = ()
    """Fields of the network in place of the preset's; `changed` puts them here by their names."""
    batch_seconds: float
    """Seconds of audio, padding included, in one micro-batch on one device."""
    total_batch_hours: float = 0.0
    """Hours of audio, padding included, in one update over all devices: gradients are accumulated
    until it is reached. 0 uses `accumulate` instead."""
    loader_workers: int = 0
    """Processes that read audio ahead, for each rank; 0 reads it in the training process."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.batch_seconds > 0:
            raise ValueError(f"batch_seconds must be above 0, got {self.batch_seconds:g}")
        if self.loader_workers < 0:
            raise ValueError(f"loader_workers cannot be negative, got {self.loader_workers}")

    def accumulation(self, world: int) -> int:
        """As in `RunConfig`; as many as reach `total_batch_hours` where that is set."""
        if not self.total_batch_hours:
            return self.accumulate
        return max(round(self.total_batch_hours * 3600 / (self.batch_seconds * world)), 1)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(AudioRunConfig):
    """Settings of a self-supervised run."""

    model: str = "base"
    """Preset of the network."""
    objective: Objective = Objective()
    """Masks, distractors and weights of the losses."""
    temperature: Annealing = Annealing()
    """Temperature of the Gumbel softmax (P §4.2)."""
    crop_seconds: float = 15.625
    """Longer utterances are cropped at random to this length (P §4.2: 250 000 samples)."""
    shortest_seconds: float = 2.0
    """Shorter utterances are left out (R: 32 000 samples)."""
    centred_codebook: bool = False
    """Whether codebook entries are initialised around zero. R draws them from [0, 1], so all of
    them point almost the same way at first, and it takes thousands of updates to leave chance."""
    quantized_inputs: bool = False
    """Whether the context network gets quantized features (ablation, P §5.4)."""
    quantized_targets: bool = True
    """Whether the targets are quantized (ablation, P §5.4)."""
    weight_decay: float = 0.01
    eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(AudioRunConfig):
    """Settings of a CTC run."""

    mask: SpanMask = SpanMask(time_probability=0.065, channel_probability=0.004)
    """Masks on the input (P App. B, the 10 h row)."""
    freeze_feature_encoder: bool = True
    """Whether the feature encoder keeps its weights (P §4.3: always)."""
    head_only_updates: int = 0
    """Number of first updates that train the output layer only (P §4.3: 10 k)."""
    adapters_only: bool = False
    """Whether only the output layer and the adapters of the blocks learn, as MMS trains a language
    (arXiv 2305.13516, section 5.2)."""
    search_while_frozen: bool = False
    """Whether validations search with the language model while only the output layer learns."""
    dropout: float = 0.0
    """Dropout in the Transformer, on its input and on its output (R: 0)."""
    attention_dropout: float = 0.0
    """Dropout on attention probabilities (R: 0)."""
    activation_dropout: float = 0.1
    """Dropout inside the feed-forward layers (R)."""
    layer_drop: float = 0.1
    """Probability that a Transformer block is skipped (LayerDrop, R)."""
    speeds: tuple[float, ...] = (1.0,)
    """Speeds of augmentation: each utterance is played at one of them, drawn anew each epoch (pitch
    follows); not in P."""
    augment: Augmentation = Augmentation()
    """Rooms, noise, telephones and loudness of augmentation, drawn anew each epoch; not in P."""
    units: Units = "characters"
    """Symbols of the output layer."""
    phones: int = 39
    """Classes that TIMIT's 61 phones are folded to in training, 39 or 48; scoring uses 39."""
    pieces: int = 1000
    """Number of word pieces learned from the transcripts, where `units` is `pieces`."""
    alphabet: str = "auto"
    """Characters of the output layer: `auto` finds those of the transcripts, `english` is the
    published layout, `checkpoint` that of the model to start from; or a file of symbols."""
    normalizer: Literal["auto", "english", "basic", "none"] = "auto"
    """How transcripts are spelled (`lm.text.normalizers`); `auto` takes `english` for the English
    alphabet and `basic` for others."""
    case: Literal["auto", "upper", "lower", "keep"] = "auto"
    """Case of the letters; `auto` takes the alphabet's, else small letters."""
    language: str = ""
    """Language tag; `tr` and `az` have letter cases of their own. A model with an adapter for each
    language starts from this one's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.phones not in (39, 48):
            raise ValueError(f"phones are folded to 39 or 48, got {self.phones}")
        if self.normalizer == "english" and self.case in ("lower", "keep"):
            Normalizer("english", self.case)  # says what contradicts


@dataclass(frozen=True, kw_only=True)
class LmConfig(RunConfig):
    """Settings of a word Transformer's run."""

    model: str = "small"
    """Preset of the network."""
    vocabulary: int = 200_000
    """Size of its vocabulary: the most frequent words of the text."""
    batch_words: int = 4096
    """Words in one micro-batch, on one device."""
    block: int = 128
    """Words in one row of a micro-batch: as many whole sentences as fit."""
    dropout: float = 0.1
    """Dropout in the blocks and on the embeddings."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0


Config = TypeVar("Config", bound=RunConfig)
NETWORK: dict[str, Any] = get_type_hints(Wav2Vec2Config)  # types by the fields' names


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a recipe with some of its fields replaced, in the order given.

    settings: value by the name of a field, with a dot for those inside: `objective.distractors`,
    `schedule.peak`, `mask.time_span`. A value may be a text, as on a command line. `mask_prob`
    beside `time_probability` is fairseq's, p·M. `accumulate` replaces the recipe's
    `total_batch_hours`. A name that is not the recipe's but a field of the network's architecture
    (`num_heads`, `codebooks`) goes into `architecture`.

    Raises UsageError for a field that does not exist, a value that does not fit, and two settings
    that contradict each other.
    """
    values = {name: _text(value) for name, value in settings.items()}
    if "accumulate" in values and hasattr(config, "total_batch_hours"):
        if float(_parsed(values.get("total_batch_hours", "0"), float, "total_batch_hours")):
            raise UsageError(
                "accumulate (--accumulate) and total_batch_hours (--total-batch-hours) both say "
                "how many batches make an update: give one."
            )
        values["total_batch_hours"] = "0"
    # p·M needs the final M: `mask_prob` waits until every other setting is in place.
    for name in sorted(values, key=_is_mask_prob):
        other = name.replace("mask_prob", "time_probability")
        if _is_mask_prob(name) and other in values:
            raise UsageError(f"{name} and {other} both set the mask's probability: give one.")
        config = _set(config, name.split("."), values[name], f"{name}={values[name]}")
    return config


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Split texts such as `objective.distractors=50`. Raises UsageError without a `=`."""
    settings = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"--set takes name=value, got {text!r}.")
        settings[name.strip()] = value.strip()
    return settings


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by their full names, those inside others with a dot: `schedule.peak`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_mask_prob(name: str) -> bool:
    return name.rpartition(".")[2] == "mask_prob"


def _text(value: Any) -> str:
    """The text that `_parsed` reads as this value."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _set(config: Any, path: list[str], text: str, setting: str) -> Any:
    """Replace the field at `path`, which leads through nested dataclasses."""
    name, *inside = path
    known = {item.name for item in fields(config)}
    network = NETWORK if ARCHITECTURE in known else {}
    known -= {ARCHITECTURE}
    if name in network and name not in known and not inside:
        others = tuple(pair for pair in config.architecture if pair[0] != name)
        value = _field_of_network(name, text, setting)
        # By name, so that a run is the same in whichever order its settings are given.
        pairs = sorted((*others, (name, value)), key=lambda pair: pair[0])
        return replace(config, architecture=tuple(pairs))
    if _is_mask_prob(name) and "time_probability" in known:
        probability = _parsed(text, float, setting) / max(config.time_span, 1)
        return _replaced(config, "time_probability", probability)
    if name not in known:
        names = ", ".join(sorted(known | set(network)))
        raise UsageError(f"Setting {setting}: there is no {name}; there are {names}.")
    if inside:
        within = getattr(config, name)
        if not is_dataclass(within):
            raise UsageError(f"Setting {setting}: {name} has no fields inside it.")
        return _replaced(config, name, _set(within, inside, text, setting))
    return _replaced(config, name, _parsed(text, get_type_hints(type(config))[name], setting))


def _field_of_network(name: str, text: str, setting: str) -> Any:
    """The value that a text stands for in a field of the architecture."""
    if name != "conv_layers":
        return _parsed(text, NETWORK[name], setting)
    layers = re.findall(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)", text)
    if not layers or re.sub(r"[\s,()\d]", "", text) or text.count("(") != len(layers):
        raise UsageError(
            f"Setting {setting}: it takes channels, kernel and stride of each layer, such as "
            "(512,10,5),(512,3,2)."
        )
    return tuple(tuple(map(int, layer)) for layer in layers)


def _parsed(text: str, kind: Any, setting: str) -> Any:
    """The value that a text stands for in a field of this type."""
    if get_args(kind) and all(isinstance(choice, str) for choice in get_args(kind)):
        if text in get_args(kind):
            return text
        raise UsageError(f"Setting {setting}: it takes {', '.join(get_args(kind))}.")
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
        if get_origin(kind) is tuple:
            numbers = tuple(float(part) for part in text.split(","))
            if ... not in get_args(kind) and len(numbers) != len(get_args(kind)):
                raise ValueError
            return numbers
    except (ValueError, KeyError):
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}
        kinds = "numbers with commas between them, as many as before"
        raise UsageError(f"Setting {setting}: {text!r} is not {wanted.get(kind, kinds)}.") from None
    raise UsageError(
        f"Setting {setting}: it has fields inside it: name one, as in objective.distractors=50."
    )


def _replaced(config: Any, name: str, value: Any) -> Any:
    try:
        return replace(config, **{name: value})
    except ValueError as error:
        raise UsageError(f"{error}.") from None
