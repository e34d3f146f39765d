"""Every field of the network by --set, where no checkpoint fixes it."""

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.config import PRESETS, Wav2Vec2Config, tiny
from models.pretraining import Wav2Vec2ForPretraining
from w2v2cli.errors import UsageError
from w2v2cli.training.architecture import FINETUNING_ONLY, PRETRAINING_ONLY, REGULARISATION
from w2v2cli.training.config import NETWORK as NAMES
from w2v2cli.training.config import changed, parse_settings
from w2v2cli.training.recipes import FINETUNING, PRETRAINING
from w2v2cli.training.runs.finetune import finetuning_dry_run, start_of
from w2v2cli.training.runs.pretrain import pretrain, pretraining_dry_run
from w2v2cli.training.tasks.finetuning import regularised
from w2v2cli.training.tasks.pretraining import network_config

# Another value of each field than `tiny` has, as a command line writes it, and as it is.
OTHER = {
    "conv_layers": ("(8,10,5),(8,3,2),(16,2,2)", ((8, 10, 5), (8, 3, 2), (16, 2, 2))),
    "conv_bias": ("true", True),
    "conv_norm": ("layer", "layer"),
    "normalize_waveform": ("true", True),
    "width": ("48", 48),
    "ffn_width": ("96", 96),
    "num_layers": ("3", 3),
    "num_heads": ("8", 8),
    "norm_order": ("pre", "pre"),
    "position_kernel": ("7", 7),
    "position_groups": ("4", 4),
    "attention_adapter": ("4", 4),
    "adapter": ("true", True),
    "adapter_layers": ("2", 2),
    "adapter_kernel": ("5", 5),
    "adapter_stride": ("3", 3),
    "adapter_width": ("16", 16),
    "codebooks": ("4", 4),
    "codebook_entries": ("16", 16),
    "codebook_width": ("32", 32),
    "target_width": ("8", 8),
    "quantized_inputs": ("true", True),
    "quantized_targets": ("false", False),
    "target_glu": ("true", True),
    "separate_encoders": ("true", True),
    **{name: ("0.25", 0.25) for name in REGULARISATION},
}


def test_every_field_is_tried():
    assert set(OTHER) == set(NAMES) == {item.name for item in fields(Wav2Vec2Config)}


def beside(name):
    """What else a field needs."""
    return {"norm_order": "pre"} if name == "attention_adapter" else {}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FINETUNING_ONLY])
def test_each_field_can_be_set_in_pretraining(name):
    text, value = OTHER[name]
    base = {"model": "tiny", **beside(name)}
    plain = network_config(changed(PRETRAINING["small"](), base))
    found = network_config(changed(PRETRAINING["small"](), base | {name: text}))
    assert found == replace(plain, **{name: value}) != plain
    assert network_config(changed(PRETRAINING["small"](), base | {name: value})) == found


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PRETRAINING_ONLY])
def test_each_field_can_be_set_in_finetuning_from_random_weights(name):
    text, value = OTHER[name]
    config = changed(FINETUNING["demo"](), {name: text, **beside(name)})
    assert getattr(regularised(start_of("tiny-config", config).config, config), name) == value


@pytest.mark.parametrize("name", sorted(PRETRAINING_ONLY))
def test_what_only_pretraining_has_is_refused_in_finetuning(name):
    config = changed(FINETUNING["demo"](), {name: OTHER[name][0]})
    with pytest.raises(UsageError, match=f"Setting {name}=.*: only pretraining has {name}"):
        start_of("tiny-config", config)


@pytest.mark.parametrize("name", sorted(FINETUNING_ONLY))
def test_what_only_finetuning_has_is_refused_in_pretraining(name):
    config = changed(PRETRAINING["small"](), {name: OTHER[name][0]})
    with pytest.raises(UsageError, match=f"Setting {name}=.*: only fine-tuning has {name}"):
        network_config(config)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = replace(tiny(), num_heads=2, codebooks=4, layer_drop=0.0)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    weights = Wav2Vec2ForPretraining(config).state_dict()
    save_checkpoint(path, Checkpoint(config, weights, None, {}))
    return path


def test_a_checkpoint_fixes_its_shape_and_not_its_regularisation(checkpoint):
    config = changed(FINETUNING["demo"](), {"num_heads": 8})
    with pytest.raises(UsageError, match=r"num_heads=8: .*safetensors has num_heads 2, which its"):
        start_of(str(checkpoint), config)
    same = changed(FINETUNING["demo"](), {"num_heads": 2, "final_dropout": 0.2})
    assert start_of(str(checkpoint), same).config.final_dropout == 0.2


def test_a_run_has_the_network_that_was_asked_for(tmp_path, checkpoint):
    for number in range(12):
        noise = np.random.default_rng(number).normal(0, 0.1, 16000)
        soundfile.write(tmp_path / f"{number}.wav", noise, 16_000)
    settings = {
        "model": "tiny",
        "schedule.updates": 1,
        "shortest_seconds": 0.5,
        "batch_seconds": 4.0,
        "precision": "fp32",
    }
    call = {"recipe": "small", "note": lambda line: None}
    asked = {"num_heads": 8, "codebooks": 4, "position_kernel": 7}
    made = pretrain(tmp_path, output=tmp_path / "a", settings=settings | asked, **call)
    found = load_checkpoint(made.checkpoint).config
    assert (found.num_heads, found.codebooks, found.position_kernel) == (8, 4, 7)
    # The same call goes on; another network is another run.
    pretrain(tmp_path, output=tmp_path / "a", settings=settings | asked, **call)
    with pytest.raises(UsageError, match="other settings: architecture was"):
        pretrain(tmp_path, output=tmp_path / "a", settings=settings, **call)
    # From a checkpoint the shape is the checkpoint's own, whatever the preset.
    made = pretrain(tmp_path, output=tmp_path / "b", model=checkpoint, settings=settings, **call)
    found = load_checkpoint(made.checkpoint).config
    assert (found.num_heads, found.codebooks, found.layer_drop) == (2, 4, tiny().layer_drop)
    with pytest.raises(UsageError, match="has codebooks 4, which its weights fix"):
        pretrain(
            tmp_path,
            output=tmp_path / "c",
            model=checkpoint,
            settings=settings | {"codebooks": 2},
            **call,
        )


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("num_heads=7", "width 32 cannot be divided by num_heads 7"),
        ("num_heads=many", "'many' is not a whole number"),
        ("num_layers=0", "num_layers must be at least 1, got 0"),
        ("layer_drop=1", "layer_drop is from 0 to below 1, got 1"),
        ("conv_norm=batch", "it takes group, layer"),
        ("conv_layers=512", r"it takes channels, kernel and stride of each layer, such as \(512"),
        ("conv_layers=(512,10)", "it takes channels, kernel and stride"),
        ("architecture=x", "there is no architecture; there are accumulate,.* num_heads"),
        ("num_heads.x=1", "there is no num_heads;|num_heads has no fields"),
    ],
)
def test_what_makes_no_network_is_a_sentence(setting, sentence):
    with pytest.raises(UsageError, match=sentence):
        network_config(
            changed(PRETRAINING["small"](), {"model": "tiny"} | parse_settings([setting]))
        )


def test_the_order_in_which_fields_are_set_makes_no_other_run():
    pairs = [("num_heads", 2), ("codebooks", 4), ("conv_bias", True)]
    one, other = (
        changed(PRETRAINING["small"](), dict(order)) for order in (pairs, reversed(pairs))
    )
    assert one == other and dict(one.architecture) == dict(pairs)


def test_the_page_lists_every_field():
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text("utf-8")
    section = page.split("## The network")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert sorted(listed) == sorted(NAMES)
    marked = re.findall(r"^\| `(\w+)` \| [^|]* \| pretraining \|", section, re.M)
    assert set(marked) == PRETRAINING_ONLY
    marked = re.findall(r"^\| `(\w+)` \| [^|]* \| fine-tuning \|", section, re.M)
    assert set(marked) == FINETUNING_ONLY
    values = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", section, re.M))
    base = PRESETS["base"]()
    for name in NAMES:
        shown = getattr(base, name)
        assert values[name] == (str(shown).lower() if isinstance(shown, bool) else str(shown)) or (
            name == "conv_layers"
        )


def test_a_dry_run_lists_the_network():
    text = pretraining_dry_run(recipe="small", settings={"model": "tiny", "num_heads": 8}).text()
    network = text.split("network (--set, where no checkpoint fixes it)")[1]
    assert "  num_heads = 8\n" in network and "  codebooks = 2\n" in network
    assert "architecture" not in text
    plan = finetuning_dry_run(model="tiny-config", settings={"width": 64})
    assert "  width = 64" in plan.text() and "codebooks" not in plan.text()
