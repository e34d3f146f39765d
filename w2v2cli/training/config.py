"""What a training run does: frozen dataclasses, one for each kind of run. Named ones are in `recipes.py`.

P is the paper (arXiv 2006.11477), R the reference configurations published with fairseq.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from lm.text.vocabulary import Units
from models.masking import SpanMask
from models.pretraining import Objective
from w2v2cli.errors import UsageError
from w2v2cli.training.schedule import Annealing, TriStage

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training run has."""

    schedule: TriStage
    """Learning rate by update."""
    accumulate: int = 1
    """Micro-batches of one device whose gradients make one update."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of Adam (R)."""
    eps: float = 1e-8
    """Of Adam (R)."""
    weight_decay: float = 0.0
    """Decoupled, on matrices only."""
    clip_norm: float = 0.0
    """Largest gradient norm; 0 leaves it alone (R)."""
    precision: Precision = "bf16"
    """`bf16` and `fp16` for autocast; losses and norms stay in float32."""
    compile: bool = False
    """Whether each block goes through torch.compile: the same results but for rounding."""
    recompute: bool = False
    """Whether the backward pass runs each block again instead of keeping what it computed: less memory, more time."""
    validate_every: int = 1000
    """Updates between two validations."""
    save_every: int = 500
    """Updates between two states on disk; a validation saves one as well."""
    keep: int = 2
    """States kept."""
    seed: int = 1
    """Of weights, order of data, masks and dropout."""

    def accumulation(self, world: int) -> int:
        """Micro-batches that each of `world` devices accumulates for an update."""
        del world
        return self.accumulate


@dataclass(frozen=True, kw_only=True)
class AudioRunConfig(RunConfig):
    """What every run that hears audio has."""

    batch_seconds: float
    """Padded audio in one micro-batch, on one device."""
    total_batch_hours: float = 0.0
    """Padded audio in one update, over all devices and accumulated micro-batches; 0 leaves `accumulate` as it is."""
    loader_workers: int = 0
    """Processes that read audio ahead on each rank; 0 reads it in the training process itself."""

    def accumulation(self, world: int) -> int:
        """As many as bring `world` devices to the total batch."""
        if not self.total_batch_hours:
            return self.accumulate
        return max(round(self.total_batch_hours * 3600 / (self.batch_seconds * world)), 1)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(AudioRunConfig):
    """One self-supervised run."""

    model: str = "base"
    """The preset of the network."""
    objective: Objective = Objective()
    """Masks, distractors and the weights of the losses."""
    temperature: Annealing = Annealing()
    """Of the Gumbel softmax (P §4.2)."""
    crop_seconds: float = 15.625
    """Longer utterances are cut to a random stretch of this length (P §4.2: 250 000 samples)."""
    shortest_seconds: float = 2.0
    """Shorter utterances are left out (R: 32 000 samples)."""
    centred_codebook: bool = False
    """Whether the entries of the codebooks are drawn around zero. R draws them from 0 to 1, so that all of them point almost
    the same way at first: a short run then takes thousands of updates to leave chance."""
    quantized_inputs: bool = False
    """Whether the context network sees quantized features (P §5.4)."""
    quantized_targets: bool = True
    """Whether the targets are quantized (P §5.4)."""
    weight_decay: float = 0.01
    eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(AudioRunConfig):
    """One CTC run."""

    mask: SpanMask = SpanMask(time_probability=0.065, channel_probability=0.004)
    """Input hidden in training (P App. B, the 10 h row)."""
    freeze_feature_encoder: bool = True
    """Whether the feature encoder keeps its weights (P §4.3: throughout)."""
    head_only_updates: int = 0
    """First updates in which only the output layer learns (P §4.3: 10 k)."""
    dropout: float = 0.0
    """Transformer, input and output dropout in this run (R: 0)."""
    attention_dropout: float = 0.0
    """On the attention probabilities in this run (R: 0)."""
    activation_dropout: float = 0.1
    """Inside the feed-forward parts in this run (R)."""
    layer_drop: float = 0.1
    """Probability that a block is skipped in this run (R)."""
    speeds: tuple[float, ...] = (1.0,)
    """Each time an utterance is read it is played at one of these speeds (pitch follows); not in P."""
    units: Units = "characters"
    """What the output layer writes."""
    phones: int = 39
    """TIMIT's 61 phones are folded to this many for training, 39 or 48; scoring folds to 39 always."""
    pieces: int = 1000
    """Word pieces learned from the transcripts."""

    def __post_init__(self) -> None:
        if self.phones not in (39, 48):
            raise ValueError(f"phones are folded to 39 or 48, got {self.phones}")


@dataclass(frozen=True, kw_only=True)
class LmConfig(RunConfig):
    """One run of the word Transformer."""

    model: str = "small"
    """The preset of the network."""
    vocabulary: int = 200_000
    """Most frequent words of the text that it knows."""
    batch_words: int = 4096
    """Words in one micro-batch, on one device."""
    block: int = 128
    """Words in one row of it: whole sentences, as many as fit."""
    dropout: float = 0.1
    """In the blocks and on the embeddings, in this run."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0


Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True)
class Changes:
    """What a command line puts in place of a recipe's values; None and an empty text leave them."""

    updates: int | None = None
    peak_lr: float | None = None
    settings: tuple[str, ...] = ()
    """`name=value` for any field, a dot for those inside: `objective.distractors=50`, `mask.time_probability=0.05`."""
    others: dict[str, Any] = field(default_factory=dict)
    """Field to value, None where it stays."""


def changed(config: Config, changes: Changes) -> Config:
    """A recipe with the changes; UsageError names a field that does not exist or a value that does not fit it."""
    schedule = config.schedule
    for name, value in (("updates", changes.updates), ("peak", changes.peak_lr)):
        if value is not None:
            schedule = _replaced(schedule, name, value)
    config = replace(
        config, schedule=schedule, **{k: v for k, v in changes.others.items() if v is not None}
    )
    for setting in changes.settings:
        path, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"--set takes name=value, got {setting!r}.")
        config = _set(config, path.strip().split("."), text.strip(), setting)
    return config


def _set(config: Any, path: list[str], text: str, setting: str) -> Any:
    known = {item.name for item in fields(config)}
    if path[0] == "mask_prob" and "time_probability" in known:  # fairseq's: p · M
        return _replaced(config, "time_probability", float(text) / config.time_span)
    if path[0] not in known:
        raise UsageError(
            f"--set {setting}: there is no {path[0]}; there are {', '.join(sorted(known))}."
        )
    if len(path) > 1:
        return replace(config, **{path[0]: _set(getattr(config, path[0]), path[1:], text, setting)})
    kind = get_type_hints(type(config))[path[0]]
    return _replaced(config, path[0], _parsed(text, kind, setting))


def _parsed(text: str, kind: Any, setting: str) -> Any:
    """The value that a text stands for in a field of this type."""
    if get_args(kind) and all(isinstance(choice, str) for choice in get_args(kind)):
        if text in get_args(kind):
            return text
        raise UsageError(f"--set {setting}: takes {', '.join(get_args(kind))}.")
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
        if getattr(kind, "__origin__", None) is tuple:
            return tuple(float(part) for part in text.split(","))
    except (ValueError, KeyError):
        raise UsageError(
            f"--set {setting}: {text!r} is no {getattr(kind, '__name__', kind)}."
        ) from None
    raise UsageError(f"--set {setting}: name a field inside it, as in objective.distractors=50.")


def _replaced(config: Any, name: str, value: Any) -> Any:
    try:
        return replace(config, **{name: value})
    except ValueError as error:
        raise UsageError(f"{error}.") from None
