"""One update of pretraining and of fine-tuning beside transformers, on the same batch in one run.

    python -m benchmarks.training [--utterances 2 --seconds 15.6 --precision fp32 bf16 --repeats 5]

An update is everything that a training script does with a batch in memory: draw masks and
distractors, forward, losses, backward, AdamW. The peers are `Wav2Vec2ForPreTraining`, with the mask
and distractor functions of its own example, and `Wav2Vec2ForCTC`. Contenders take turns, update by
update, so that other load on the machine slows all of them alike. Prints medians, ratios, and model
FLOP utilisation (MFU): the operations of the network alone (three times the forward pass) a second,
over those of a large matrix product on the same device in the same precision.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from models.config import SAMPLE_RATE, Wav2Vec2Config, base, large
from models.masking import DrawnMask, SpanMask
from models.pretraining import MaskedSteps, Objective, Wav2Vec2ForPretraining, pretraining_losses
from models.quantizer import gumbel_noise
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.recognition.devices import DTYPES, dtype_named
from w2v2cli.training.optimization import compile_blocks

Update = Callable[[], None]
LABELS = 200  # labels of each utterance in fine-tuning
MATRIX = 4096  # rows and columns of the product that measures the peak of the device


def network_flops(
    config: Wav2Vec2Config, utterances: int, samples: int, frozen_encoder: bool
) -> float:
    """Floating-point operations of one update; backward counts twice the forward pass."""
    encoder, context = config.forward_flops(samples)
    return utterances * (encoder * (1 if frozen_encoder else 3) + context * 3)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(4):
        waited(device)
        began = time.perf_counter()
        a @ b
        waited(device)
        best = min(best, time.perf_counter() - began)
    return 2 * MATRIX**3 / best


def waited(device: torch.device) -> None:
    """Wait until the device has no work left."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def our_pretraining(
    config: Wav2Vec2Config, waveforms: Tensor, dtype: torch.dtype, compiled: bool
) -> Update:
    """Return a function that does one update of pretraining with our network."""
    device = waveforms.device
    network = Wav2Vec2ForPretraining(config).to(device).train()
    if compiled:
        compile_blocks(network)
    optimizer = adamw(network, device)
    lengths = torch.full((len(waveforms),), waveforms.shape[1])
    objective, host = Objective(), torch.Generator().manual_seed(0)
    generator = torch.Generator(device).manual_seed(0)

    def update() -> None:
        steps = MaskedSteps.draw(config.frame_lengths(lengths), objective, host).to(device)
        noise = gumbel_noise((len(steps), config.codebooks, config.codebook_entries), generator)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            found = network(
                waveforms,
                lengths,
                steps,
                temperature=2.0,
                noise=(noise, None),
                encoder_gradient=0.1,
            )
            loss = pretraining_losses(found, steps, objective).total
        (loss / len(steps)).backward()
        optimizer.step()

    return update


def their_pretraining(config: Wav2Vec2Config, waveforms: Tensor, dtype: torch.dtype) -> Update:
    """Return a function that does one update of pretraining with transformers."""
    from transformers import Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2 import modeling_wav2vec2 as theirs

    device = waveforms.device
    network: Any = Wav2Vec2ForPreTraining(their_config(config))
    network.to(device).train()
    optimizer = adamw(network, device)
    shape = (len(waveforms), int(config.frame_lengths(waveforms.shape[1])))

    def update() -> None:
        mask = theirs._compute_mask_indices(shape, 0.65, 10)
        negatives = theirs._sample_negative_indices(shape, 100, mask)
        hidden = torch.from_numpy(mask).to(device)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            found = network(
                waveforms,
                mask_time_indices=hidden,
                sampled_negative_indices=torch.from_numpy(negatives).to(device),
            )
        (found.loss / hidden.sum()).backward()
        optimizer.step()

    return update


def our_finetuning(
    config: Wav2Vec2Config, waveforms: Tensor, dtype: torch.dtype, compiled: bool
) -> Update:
    """Return a function that does one update of fine-tuning with our network."""
    device = waveforms.device
    network = Wav2Vec2ForCTC(config, 32).to(device).train()
    network.wav2vec2.feature_encoder.requires_grad_(False)
    if compiled:
        compile_blocks(network)
    optimizer = adamw(network, device)
    lengths, labels = torch.full((len(waveforms),), waveforms.shape[1]), labels_for(waveforms)
    label_lengths = torch.full((len(waveforms),), LABELS)
    spans, frames_of = SpanMask(0.065, channel_probability=0.004), config.frame_lengths(lengths)

    def update() -> None:
        optimizer.zero_grad()
        mask = DrawnMask.draw(frames_of, config.width, spans).to(device)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits, frames = network(waveforms, lengths, mask)
        log_probs = logits.float().log_softmax(-1).transpose(0, 1)
        F.ctc_loss(
            log_probs, labels, frames, label_lengths, reduction="sum", zero_infinity=True
        ).backward()
        optimizer.step()

    return update


def their_finetuning(config: Wav2Vec2Config, waveforms: Tensor, dtype: torch.dtype) -> Update:
    """Return a function that does one update of fine-tuning with transformers."""
    from transformers import Wav2Vec2ForCTC as Theirs

    device = waveforms.device
    settings = their_config(config)
    settings.update(
        {
            "vocab_size": 32,
            "mask_feature_prob": 0.25,
            "mask_feature_length": 64,
            "mask_time_prob": 0.65,
        }
    )
    network: Any = Theirs(settings)
    network.to(device).train()
    network.freeze_feature_encoder()
    optimizer = adamw(network, device)
    labels = labels_for(waveforms)

    def update() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            found = network(waveforms, labels=labels)
        found.loss.backward()
        optimizer.step()

    return update


def their_config(config: Wav2Vec2Config) -> Any:
    """Return the configuration of transformers for the same network."""
    from transformers import Wav2Vec2Config as Theirs

    return Theirs(
        hidden_size=config.width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.ffn_width,
        hidden_dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        feat_proj_dropout=config.feature_dropout,
        layerdrop=config.layer_drop,
        codevector_dim=config.codebook_width,
        proj_codevector_dim=config.target_width,
        ctc_zero_infinity=True,
        ctc_loss_reduction="sum",
        pad_token_id=0,
    )


def labels_for(waveforms: Tensor) -> Tensor:
    """Draw labels, (B, LABELS)."""
    drawn = torch.randint(
        1, 32, (len(waveforms), LABELS), generator=torch.Generator().manual_seed(0)
    )
    return drawn.to(waveforms.device)


def adamw(network: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=1e-5, fused=device.type == "cuda")


def measured(
    contenders: dict[str, Update], device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each update, contenders in turn; the first two of each do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 2):
        for name, update in contenders.items():
            waited(device)
            began = time.perf_counter()
            update()
            waited(device)
            if turn >= 2:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=["base", "large"], default="base")
    parser.add_argument("--utterances", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.6)
    parser.add_argument("--precision", nargs="+", choices=list(DTYPES), default=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--compile", action="store_true", help="add a third contender: ours with torch.compile"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device(args.device)
    # LayerDrop would leave out other blocks for each contender; without it all do the same work.
    network = replace({"base": base, "large": large}[args.model](), layer_drop=0.0)
    # The dropout of every recipe of fine-tuning (R).
    tuned = replace(
        network, dropout=0.0, attention_dropout=0.0, feature_dropout=0.0, activation_dropout=0.1
    )
    np.random.seed(0)
    torch.manual_seed(0)
    waveforms = (torch.randn(args.utterances, int(args.seconds * SAMPLE_RATE)) * 0.1).to(device)
    audio = args.utterances * args.seconds
    table = Table(
        title=f"{args.model.upper()}, {args.utterances} × {args.seconds:g} s, {device}, "
        f"{torch.get_num_threads()} threads"
    )
    for column in ("", "seconds", "× real time", "ratio", "MFU"):
        table.add_column(column, justify="left" if not column else "right")
    for precision in args.precision:
        dtype = dtype_named(precision)
        peak = peak_flops(device, dtype)
        for kind, config, theirs, ours in (
            ("pretraining", network, their_pretraining, our_pretraining),
            ("fine-tuning", tuned, their_finetuning, our_finetuning),
        ):
            contenders = {
                "transformers": theirs(config, waveforms, dtype),
                "w2v2": ours(config, waveforms, dtype, False),
            }
            if args.compile:
                contenders["w2v2 compiled"] = ours(config, waveforms, dtype, True)
            taken = measured(contenders, device, args.repeats)
            batch, samples = waveforms.shape
            flops = network_flops(config, batch, samples, frozen_encoder=kind == "fine-tuning")
            slowest = statistics.median(taken["transformers"])
            for name, seconds in taken.items():
                median = statistics.median(seconds)
                table.add_row(
                    f"{kind} {precision} {name}",
                    f"{median:.2f}",
                    f"{audio / median:.1f}",
                    f"{slowest / median:.2f}",
                    f"{flops / median / peak:.0%}",
                )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
