"""Word Transformers as fairseq publishes them: a pickled checkpoint, and a dictionary beside it.

The file is read without running what is in it; fairseq need not be installed. Names and shapes follow fairseq's
`transformer_lm` (models/transformer_lm.py, modules/adaptive_input.py, modules/adaptive_softmax.py).
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm.language_model import LanguageModelError
from lm.transformer.checkpoint import TransformerCheckpoint, load_transformer
from lm.transformer.config import TransformerLMConfig
from lm.transformer.dictionary import Dictionary, read_fairseq_dictionary

BLOCK_NAMES = {
    "self_attn_layer_norm": "attention_norm",
    "self_attn.out_proj": "attention_out",
    "final_layer_norm": "inner_norm",
    "fc1": "up",
    "fc2": "down",
}
IGNORED = (  # buffers that hold nothing learnt
    "version",
    "embed_positions._float_tensor",
    "embed_tokens._float_tensor",
    "adaptive_softmax.version",
    "adaptive_softmax.head._float_tensor",
)
DROPPED = (
    "fairseq.meters.AverageMeter",
    "fairseq.meters.TimeMeter",
    "fairseq.meters.StopwatchMeter",
)
CONTAINERS = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.EnumNode",
)


def read_transformer(
    path: Path, *, upper: bool = True, tell: Callable[[str], None] = lambda sentence: None
) -> TransformerCheckpoint:
    """Our own file, by its name `.safetensors`, or else fairseq's: see `load_transformer` and `read_fairseq_lm`."""
    if not path.is_file():
        raise LanguageModelError(f"There is no language model at {path}.")
    return (
        load_transformer(path)
        if path.suffix == ".safetensors"
        else read_fairseq_lm(path, upper=upper, tell=tell)
    )


def read_fairseq_lm(
    path: Path, *, upper: bool = True, tell: Callable[[str], None] = lambda sentence: None
) -> TransformerCheckpoint:
    """A `transformer_lm` checkpoint and its dictionary: `NAME.dict` or `dict.txt` beside `NAME.pt`.

    upper: spell the words in capitals, as transcripts are. tell: gets a sentence where words became equal.
    Raises LanguageModelError.
    """
    beside = [
        file for file in (path.with_suffix(".dict"), path.with_name("dict.txt")) if file.is_file()
    ]
    if not beside:
        raise LanguageModelError(
            f"{path} needs its dictionary beside it: {path.stem}.dict or dict.txt."
        )
    dictionary, notes = read_fairseq_dictionary(beside[0], upper=upper)
    for note in notes:
        tell(note)
    content = _load(path)
    settings = _settings(content, path)
    config = config_from_fairseq(settings, len(dictionary))
    weights = weights_from_fairseq(content["model"], config)
    _check_vocabulary(weights, dictionary, beside[0])
    return TransformerCheckpoint(config, dictionary, weights, {"source": path.name, "upper": upper})


def config_from_fairseq(settings: Mapping[str, Any], vocabulary: int) -> TransformerLMConfig:
    """fairseq's options -> ours; LanguageModelError for an architecture that this reader does not know."""

    def get(name: str, default: Any) -> Any:
        value = settings.get(name)
        return default if value is None else value

    width = int(get("decoder_embed_dim", 512))
    refused = {
        "character_embeddings": _flag(get("character_embeddings", False)),
        "decoder_learned_pos": _flag(get("decoder_learned_pos", False)),
        "no_token_positional_embeddings": _flag(get("no_token_positional_embeddings", False)),
        "layernorm_embedding": _flag(get("layernorm_embedding", False)),
        "decoder_output_dim": int(get("decoder_output_dim", width)) != width,
    }
    adaptive = _flag(get("adaptive_input", False))
    input_width = int(get("decoder_input_dim", width))
    refused["decoder_input_dim"] = not adaptive and input_width != width
    named = [f"{name}={settings.get(name)}" for name, wrong in refused.items() if wrong]
    if named:
        raise LanguageModelError(
            f"This language model is configured in a way w2v2 does not read: {', '.join(named)}."
        )
    tied = _flag(get("tie_adaptive_weights", False))
    shared = not adaptive and _flag(get("share_decoder_input_output_embed", False))
    old = (
        "no_tie_adaptive_proj" in settings
    )  # older files have no option for the last norm, and never had one
    tied_projections = (
        not _flag(settings["no_tie_adaptive_proj"])
        if old
        else _flag(get("tie_adaptive_proj", False))
    )
    last_norm = not (old or _flag(get("no_decoder_final_norm", False)))
    if settings.get("decoder_final_norm") is not None:
        last_norm = _flag(settings["decoder_final_norm"])
    return TransformerLMConfig(
        vocabulary=vocabulary,
        blocks=int(get("decoder_layers", 6)),
        width=width,
        inner=int(get("decoder_ffn_embed_dim", 2048)),
        heads=int(get("decoder_attention_heads", 8)),
        activation=str(get("activation_fn", "relu")),
        cutoffs=_cutoffs(get("adaptive_softmax_cutoff", None), vocabulary),
        factor=float(get("adaptive_softmax_factor", 4)),
        input_cutoffs=_cutoffs(get("adaptive_input_cutoff", None), vocabulary)
        if adaptive
        else None,
        input_factor=float(get("adaptive_input_factor", 4)),
        input_width=input_width if adaptive else width,
        tie_words=tied or shared,
        tie_projections=tied and tied_projections,
        scale_embedding=not _flag(get("no_scale_embedding", False)),
        final_norm=last_norm,
        positions=int(get("max_target_positions", get("tokens_per_sample", 1024))),
        dropout=float(get("dropout", 0.1)),
        attention_dropout=float(get("attention_dropout", 0.0)),
    )


def weights_from_fairseq(
    weights: Mapping[str, Tensor], config: TransformerLMConfig
) -> dict[str, Tensor]:
    """fairseq's names -> ours, float32. Names that it does not know stay, for the check of the network to name."""
    left = {name.removeprefix("decoder."): tensor.float() for name, tensor in weights.items()}
    for name in IGNORED:
        left.pop(name, None)
    ours = _blocks(left, config)
    ours |= _input(left, config)
    ours |= _softmax(left, config)
    for kind in ("weight", "bias"):
        if config.final_norm and f"layer_norm.{kind}" in left:
            ours[f"final_norm.{kind}"] = left.pop(f"layer_norm.{kind}")
    return ours | {f"decoder.{name}": tensor for name, tensor in left.items()}


def _blocks(left: dict[str, Tensor], config: TransformerLMConfig) -> dict[str, Tensor]:
    """Takes what it finds out of `left`; queries, keys and values become one matrix."""
    ours = {}
    for block in range(config.blocks):
        theirs, own = f"layers.{block}.", f"blocks.{block}."
        for kind in ("weight", "bias"):
            whole = left.pop(f"{theirs}self_attn.in_proj_{kind}", None)  # files of before 2019-11
            parts = [left.pop(f"{theirs}self_attn.{part}_proj.{kind}", None) for part in "qkv"]
            found = [part for part in parts if part is not None]
            if whole is not None or len(found) == 3:
                ours[f"{own}attention_in.{kind}"] = torch.cat(found) if whole is None else whole
            for their_name, own_name in BLOCK_NAMES.items():
                if f"{theirs}{their_name}.{kind}" in left:
                    ours[f"{own}{own_name}.{kind}"] = left.pop(f"{theirs}{their_name}.{kind}")
    return ours


def _input(left: dict[str, Tensor], config: TransformerLMConfig) -> dict[str, Tensor]:
    if config.input_cutoffs is None:
        table = left.pop("embed_tokens.weight", None)
        return {} if table is None else {"embedding.tables.0.weight": table}
    ours = {}
    for band in range(len(config.input_cutoffs) + 1):
        for part, own in (("0", f"tables.{band}.weight"), ("1", f"projections.{band}")):
            if f"embed_tokens.embeddings.{band}.{part}.weight" in left:
                ours[f"embedding.{own}"] = left.pop(f"embed_tokens.embeddings.{band}.{part}.weight")
    return ours


def _softmax(left: dict[str, Tensor], config: TransformerLMConfig) -> dict[str, Tensor]:
    """The output side; of what is tied the copy that fairseq stores is left out."""
    ours: dict[str, Tensor] = {}
    tails = range(len(config.cutoffs))
    if not tails:
        output = [left.pop(name, None) for name in ("output_projection.weight", "embed_out")]
        found = [tensor for tensor in output if tensor is not None]
        return {"softmax.words": found[0]} if found and not config.tie_words else {}
    words = left.pop("adaptive_softmax.head.word_proj.weight", None)
    head = left.pop("adaptive_softmax.head.weight", None)
    if head is not None:
        ours["softmax.words"], ours["softmax.classes"] = (
            head[: config.cutoffs[0]],
            head[config.cutoffs[0] :],
        )
    elif words is not None and not config.tie_words:
        ours["softmax.words"] = words
    if (classes := left.pop("adaptive_softmax.head.class_proj.weight", None)) is not None:
        ours["softmax.classes"] = classes
    for band in tails:
        projection = left.pop(f"adaptive_softmax.tail.{band}.0.weight", None)
        table = left.pop(f"adaptive_softmax.tail.{band}.2.weight", None)
        if projection is not None and not config.tie_projections:
            ours[f"softmax.projections.{band}"] = projection.T.contiguous()
        if table is not None and not config.tie_words:
            ours[f"softmax.tails.{band}"] = table
    return ours


def _check_vocabulary(weights: Mapping[str, Tensor], dictionary: Dictionary, path: Path) -> None:
    tables = [tensor for name, tensor in weights.items() if name.startswith("embedding.tables.")]
    rows = sum(len(table) for table in tables)
    if tables and rows != len(dictionary):
        raise LanguageModelError(
            f"{path} has {len(dictionary)} entries with its specials, but the language model has {rows} words: they do "
            "not belong together."
        )


def _cutoffs(value: Any, vocabulary: int) -> tuple[int, ...]:
    if value is None:
        return ()
    ends = [int(end) for end in (re.findall(r"\d+", value) if isinstance(value, str) else value)]
    return tuple(ends[:-1] if ends and ends[-1] == vocabulary else ends)


def _flag(value: Any) -> bool:
    return value.lower() in ("true", "1") if isinstance(value, str) else bool(value)


class Inert:
    """Stands for a class whose instances are only containers; unpickling may leave `__init__` out."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _load(path: Path) -> dict[str, Any]:
    """What a file holds, read by torch's restricted unpickler: other classes than those named here are refused."""
    named = [
        (type(name.rpartition(".")[2], (Inert,), {}), name) for name in (*CONTAINERS, *DROPPED)
    ]
    allowed: list[Any] = [
        argparse.Namespace,
        OrderedDict,
        defaultdict,
        dict,
        list,
        int,
        (Any, "typing.Any"),
        *named,
    ]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", str(error))
        what = next((name for name in found.groups() if name), "") if found else ""
        reason = f"asks to run {what}" if what else "is no checkpoint that can be read safely"
        raise LanguageModelError(f"{path} {reason}: it was not opened any further.") from None
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        raise LanguageModelError(
            f"{path} is damaged or no PyTorch file: {str(error).splitlines()[0]}."
        ) from None
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, Mapping) or not all(
        isinstance(value, Tensor) for value in model.values()
    ):
        raise LanguageModelError(f"{path} holds no weights of a fairseq language model.")
    return dict(content)


def _settings(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The model's options, from `args` of older files or `cfg` of newer ones."""
    args = _plain(content.get("args"))
    if isinstance(args, dict):
        return args
    configuration = _plain(content.get("cfg"))
    model = configuration.get("model") if isinstance(configuration, dict) else None
    if not isinstance(model, dict):
        raise LanguageModelError(
            f"{path} does not say how its language model is built (neither args nor cfg.model)."
        )
    if isinstance(model.get("args"), dict):
        model = {**model["args"], **model}
    task = configuration.get("task")
    lengths = ("max_target_positions", "tokens_per_sample")
    inherited = {name: task.get(name) for name in lengths} if isinstance(task, dict) else {}
    # An interpolation such as ${task.tokens_per_sample} stands for the task's own value.
    own = {
        name: value
        for name, value in model.items()
        if not (isinstance(value, str) and value.startswith("${"))
    }
    return {**inherited, **own}


def _plain(value: Any) -> Any:
    """Configuration objects as dicts, lists and values, however they were kept."""
    if isinstance(value, argparse.Namespace):
        return {key: _plain(item) for key, item in vars(value).items()}
    if isinstance(value, Inert):
        inner = (
            value.state.get("_content", value.state.get("_val"))
            if isinstance(value.state, dict)
            else None
        )
        return _plain(value.args[0] if inner is None and value.args else inner)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
