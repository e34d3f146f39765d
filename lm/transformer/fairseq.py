"""Word Transformers as fairseq publishes them: a pickled checkpoint with a dictionary beside it.

Checkpoints are read without running code in them, and fairseq need not be installed. Names and
shapes are those of fairseq's `transformer_lm` (models/transformer_lm.py,
modules/adaptive_input.py, modules/adaptive_softmax.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm.language_model import LanguageModelError
from lm.transformer.checkpoint import TransformerCheckpoint, load_transformer
from lm.transformer.config import TransformerLMConfig
from lm.transformer.dictionary import Dictionary, read_fairseq_dictionary
from storage.pickles import PickleError, load_pickle, plain

BLOCK_NAMES = {  # fairseq's name of a layer in a block: ours
    "self_attn_layer_norm": "attention_norm",
    "self_attn.out_proj": "attention_out",
    "final_layer_norm": "inner_norm",
    "fc1": "up",
    "fc2": "down",
}
IGNORED = (  # buffers that hold nothing learned
    "version",
    "embed_positions._float_tensor",
    "embed_tokens._float_tensor",
    "adaptive_softmax.version",
    "adaptive_softmax.head._float_tensor",
)
UNKNOWN_PARTS = (  # flags of architectures that this reader does not know
    "character_embeddings",
    "decoder_learned_pos",
    "no_token_positional_embeddings",
    "layernorm_embedding",
)


def read_transformer(
    path: Path, *, upper: bool = True, warn: Callable[[str], None] = lambda sentence: None
) -> TransformerCheckpoint:
    """Read a `.safetensors` file of ours by `load_transformer`, any other by `read_fairseq_lm`.

    upper, warn: see `read_fairseq_lm`. Raises LanguageModelError.
    """
    if not path.is_file():
        raise LanguageModelError(f"There is no language model at {path}.")
    return (
        load_transformer(path)
        if path.suffix == ".safetensors"
        else read_fairseq_lm(path, upper=upper, warn=warn)
    )


def read_fairseq_lm(
    path: Path, *, upper: bool = True, warn: Callable[[str], None] = lambda sentence: None
) -> TransformerCheckpoint:
    """Read a `transformer_lm` checkpoint NAME.pt with NAME.dict or dict.txt beside it.

    upper: write the dictionary's words in capitals, as transcripts are.
    warn: called with a sentence where words became equal by that.

    Raises LanguageModelError for a missing dictionary, a file that is damaged or asks to run code,
    and an architecture that this reader does not know.
    """
    beside = [
        file for file in (path.with_suffix(".dict"), path.with_name("dict.txt")) if file.is_file()
    ]
    if not beside:
        raise LanguageModelError(
            f"{path} needs its dictionary beside it: {path.stem}.dict or dict.txt."
        )
    dictionary, warnings = read_fairseq_dictionary(beside[0], upper=upper)
    for sentence in warnings:
        warn(sentence)
    content = _load(path)
    settings = _settings(content, path)
    config = config_from_fairseq(settings, len(dictionary))
    weights = weights_from_fairseq(content["model"], config)
    _check_vocabulary(weights, dictionary, beside[0])
    return TransformerCheckpoint(config, dictionary, weights, {"source": path.name, "upper": upper})


def config_from_fairseq(settings: Mapping[str, Any], vocabulary: int) -> TransformerLMConfig:
    """Translate fairseq's options.

    vocabulary: entries of the dictionary, specials included. Raises LanguageModelError that names
    the options of an architecture that this reader does not know.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    get = given.get
    _refuse_other_architectures(given)
    width = int(get("decoder_embed_dim", 512))
    adaptive = _flag(get("adaptive_input", False))
    tied = _flag(get("tie_adaptive_weights", False))
    shared = not adaptive and _flag(get("share_decoder_input_output_embed", False))
    # Older files have no option for the last norm, and no last norm.
    old = "no_tie_adaptive_proj" in settings
    tied_projections = (
        not _flag(settings["no_tie_adaptive_proj"])
        if old
        else _flag(get("tie_adaptive_proj", False))
    )
    last_norm = _flag(
        get("decoder_final_norm", not (old or _flag(get("no_decoder_final_norm", False))))
    )
    input_cutoffs = _cutoffs(get("adaptive_input_cutoff"), vocabulary) if adaptive else None
    return TransformerLMConfig(
        vocabulary=vocabulary,
        blocks=int(get("decoder_layers", 6)),
        width=width,
        inner=int(get("decoder_ffn_embed_dim", 2048)),
        heads=int(get("decoder_attention_heads", 8)),
        activation=str(get("activation_fn", "relu")),
        cutoffs=_cutoffs(get("adaptive_softmax_cutoff"), vocabulary),
        factor=float(get("adaptive_softmax_factor", 4)),
        input_cutoffs=input_cutoffs,
        input_factor=float(get("adaptive_input_factor", 4)),
        input_width=int(get("decoder_input_dim", width)) if adaptive else width,
        tie_words=tied or shared,
        tie_projections=tied and tied_projections,
        scale_embedding=not _flag(get("no_scale_embedding", False)),
        final_norm=last_norm,
        positions=int(get("max_target_positions", get("tokens_per_sample", 1024))),
        dropout=float(get("dropout", 0.1)),
        attention_dropout=float(get("attention_dropout", 0.0)),
    )


def _refuse_other_architectures(given: Mapping[str, Any]) -> None:
    width = int(given.get("decoder_embed_dim", 512))
    adaptive = _flag(given.get("adaptive_input", False))
    refused = {name: _flag(given.get(name, False)) for name in UNKNOWN_PARTS}
    refused["decoder_output_dim"] = int(given.get("decoder_output_dim", width)) != width
    input_width = int(given.get("decoder_input_dim", width))
    refused["decoder_input_dim"] = not adaptive and input_width != width
    named = [f"{name}={given[name]}" for name, wrong in refused.items() if wrong]
    if named:
        raise LanguageModelError(
            f"This language model is configured in a way w2v2 does not read: {', '.join(named)}."
        )


def weights_from_fairseq(
    weights: Mapping[str, Tensor], config: TransformerLMConfig
) -> dict[str, Tensor]:
    """Translate the names of fairseq's weights; all become float32.

    Unknown names stay, after `decoder.`, so that `build_transformer` names them.
    """
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
    """Move the weights of the blocks out of `left`; queries, keys and values become one matrix."""
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
    """Move the weights of the input embeddings out of `left`."""
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
    """Move the weights of the softmax out of `left`; fairseq's copies of tied ones are dropped."""
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
            f"{path} has {len(dictionary)} entries with its specials, but the language model has "
            f"{rows} words: they do not belong together."
        )


def _cutoffs(value: Any, vocabulary: int) -> tuple[int, ...]:
    if value is None:
        return ()
    ends = [int(end) for end in (re.findall(r"\d+", value) if isinstance(value, str) else value)]
    return tuple(ends[:-1] if ends and ends[-1] == vocabulary else ends)


def _flag(value: Any) -> bool:
    return value.lower() in ("true", "1") if isinstance(value, str) else bool(value)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = load_pickle(path)
    except PickleError as error:
        raise LanguageModelError(str(error)) from None
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, Mapping) or not all(
        isinstance(value, Tensor) for value in model.values()
    ):
        raise LanguageModelError(f"{path} holds no weights of a fairseq language model.")
    return dict(content)


def _settings(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The options of the model, from `args` in older files and `cfg` in newer ones."""
    args = plain(content.get("args"))
    if isinstance(args, dict):
        return args
    configuration = plain(content.get("cfg"))
    model = configuration.get("model") if isinstance(configuration, dict) else None
    if not isinstance(model, dict):
        raise LanguageModelError(
            f"{path} does not describe its language model: it has neither args nor cfg.model."
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
