from dataclasses import replace

import pytest

from models.config import base
from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.config import changed, parse_settings
from w2v2cli.training.recipes import FINETUNING, PRETRAINING
from w2v2cli.training.tasks.pretraining import network_config


def with_settings(*settings):
    return changed(PRETRAINING["base-960"](), parse_settings(settings))


@pytest.mark.parametrize("name", ["time_probability", "mask_prob"])
def test_pretraining_without_a_mask_is_refused_in_a_sentence(name):
    with pytest.raises(UsageError, match="predicts masked frames: time_probability is above 0"):
        with_settings(f"objective.mask.{name}=0")


def test_any_field_can_be_set_by_its_name():
    config = with_settings(
        "quantized_targets=false",
        "objective.distractors=50",
        "objective.mask.time_probability=0.075",
        "objective.diversity=entropy",
        "temperature.end=0.1",
        "betas=0.9,0.95",
    )
    assert config.quantized_targets is False
    assert config.objective.distractors == 50 and config.objective.diversity == "entropy"
    assert config.objective.mask.time_probability == 0.075 and config.objective.mask.time_span == 10
    assert config.temperature.end == 0.1 and config.betas == (0.9, 0.95)


def test_fairseqs_mask_prob_is_p_times_m():
    assert with_settings(
        "objective.mask.mask_prob=0.65"
    ).objective.mask.time_probability == pytest.approx(0.065)


def test_fairseqs_mask_prob_waits_for_the_span():
    for settings in (
        ("objective.mask.mask_prob=0.65", "objective.mask.time_span=5"),
        ("objective.mask.time_span=5", "objective.mask.mask_prob=0.65"),
    ):
        assert with_settings(*settings).objective.mask.time_probability == pytest.approx(0.13)


def test_a_mask_has_one_probability():
    with pytest.raises(UsageError, match="both set the mask's probability"):
        with_settings("objective.mask.mask_prob=0.65", "objective.mask.time_probability=0.1")


def test_values_from_python_are_taken_as_they_are():
    settings = {"betas": (0.9, 0.95), "compile": True, "objective.distractors": 50}
    config = changed(PRETRAINING["base-960"](), settings)
    assert (config.betas, config.compile, config.objective.distractors) == ((0.9, 0.95), True, 50)


def test_accumulation_replaces_the_recipes_total_batch():
    config = changed(PRETRAINING["base-960"](), {"accumulate": 3})
    assert config.accumulation(1) == config.accumulation(64) == 3
    with pytest.raises(UsageError, match="give one"):
        changed(config, {"accumulate": 3, "total_batch_hours": 1.0})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("distractors", "takes name=value"),
        ("distractors=5", "there is no distractors"),
        ("objective.distractors=many", "'many' is not a whole number"),
        ("objective=3", "name one, as in"),
        ("objective.diversity=wide", "takes perplexity, entropy"),
        ("quantized_inputs=perhaps", "'perhaps' is not true or false"),
        ("schedule.updates=0", "at least 1 update"),
        ("objective.mask.mask_prob=abc", "'abc' is not a number"),
        ("temperature.end.now=1", "end has no fields inside it"),
        ("betas=0.9", "'0.9' is not numbers with commas between them, as many as before"),
        ("save_every=0", "save_every must be at least 1, got 0"),
        ("batch_seconds=0", "batch_seconds must be above 0, got 0"),
        ("loader_workers=-1", "loader_workers cannot be negative, got -1"),
        ("heads=8", "there is no heads; there are "),
        ("architecture=8", "there is no architecture"),
        ("num_heads=many", "'many' is not a whole number"),
        ("conv_layers=512,10", "channels, kernel and stride of each layer"),
    ],
)
def test_wrong_settings_are_a_sentence(setting, message):
    with pytest.raises(UsageError, match=message):
        with_settings(setting)


def test_the_total_batch_is_kept_by_any_number_of_devices():
    config = PRETRAINING["base-960"]()
    assert (
        config.accumulation(64) == 1
        and config.accumulation(8) == 8
        and config.accumulation(1) == 66
    )
    for world in (1, 2, 8, 16, 64):
        hours = config.batch_seconds * world * config.accumulation(world) / 3600
        assert hours == pytest.approx(1.6, rel=0.03)
    assert FINETUNING["base-100h"]().accumulation(2) == 4  # R: update_freq 4 on 2 GPUs
    assert FINETUNING["large-960h"]().accumulation(24) == 1


def test_recipes_have_the_numbers_of_their_sources():
    base, large = PRETRAINING["base-960"](), PRETRAINING["large-lv60k"]()
    assert (base.schedule.peak, base.schedule.updates, base.schedule.warmup) == (
        5e-4,
        400_000,
        0.08,
    )
    assert base.crop_seconds * 16_000 == 250_000 and large.crop_seconds * 16_000 == 320_000
    assert base.batch_seconds * 16_000 == 1_400_000 and base.shortest_seconds * 16_000 == 32_000
    assert (
        large.temperature.end,
        large.objective.encoder_gradient,
        large.objective.penalty_weight,
    ) == (0.1, 0.03, 0)
    reference, paper = FINETUNING["base-10m"](), FINETUNING["paper-base-10m"]()
    assert (reference.schedule.updates, paper.schedule.updates) == (13_000, 12_000)
    assert (reference.mask.time_probability, paper.mask.time_probability) == pytest.approx(
        (0.065, 0.075)
    )
    assert reference.mask.channel_probability == pytest.approx(0.25 / 64)
    assert FINETUNING["paper-base-100h"]().schedule.updates == 50_000
    assert FINETUNING["base-960h"]().head_only_updates == 0
    assert FINETUNING["paper-base-960h"]().head_only_updates == 10_000


@pytest.mark.parametrize(("name", "layer_drop"), [("timit", 0.1), ("timit-base", 0.05)])
def test_timit_has_the_papers_masks_and_the_layer_drop_of_its_network(name, layer_drop):
    timit = FINETUNING[name]()
    masks = (timit.mask.time_probability, timit.mask.channel_probability)
    assert (timit.units, timit.schedule.updates, masks) == ("phones", 40_000, (0.065, 0.012))
    assert timit.layer_drop == layer_drop


def test_the_references_run_on_60_000_hours():
    run = PRETRAINING["large-lv60k-reference"]()
    assert run.schedule.updates == 1_000_000 and run.schedule.peak == 5e-3
    assert run.schedule.rate(16_000) == pytest.approx(2.5e-3)
    assert run.schedule.rate(32_000) == 5e-3 > run.schedule.rate(32_001)
    assert run.objective.encoder_gradient == 1.0 and run.objective.penalty_weight == 0.0


def test_fields_of_the_network_are_settings_of_pretraining():
    run = with_settings("num_heads=8", "conv_norm=layer", "normalize_waveform=true", "num_heads=4")
    assert network_config(run) == replace(
        base(), num_heads=4, conv_norm="layer", normalize_waveform=True
    )
    layers = network_config(with_settings("conv_layers=(64,10,5),(32,3,2)")).conv_layers
    assert layers == ((64, 10, 5), (32, 3, 2))


def test_base_has_the_papers_heads_where_the_recipe_says_so():
    eight = network_config(PRETRAINING["base-960-8-heads"]())
    assert (eight.num_heads, network_config(PRETRAINING["base-960"]()).num_heads) == (8, 12)
    assert replace(eight, num_heads=12) == base()


def test_a_network_that_cannot_be_is_a_sentence():
    with pytest.raises(UserError, match="width 768 cannot be divided by num_heads 7"):
        network_config(with_settings("num_heads=7"))


def test_the_temperature_falls_to_its_floor():
    annealing = PRETRAINING["base-960"]().temperature
    assert annealing.at(0) == 2.0
    assert annealing.at(100_000) == pytest.approx(2 * 0.999995**100_000)
    assert annealing.at(399_999) == 0.5
