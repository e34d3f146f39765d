"""Each ablation changes one thing in its baseline, and can be run."""

from dataclasses import asdict

import pytest
import torch

from models.masking import sample_time_mask
from w2v2cli.app import main
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import ABLATIONS, FINETUNING, PRETRAINING
from w2v2cli.training.runs.finetune import finetuning_dry_run
from w2v2cli.training.runs.pretrain import pretraining_dry_run
from w2v2cli.training.runs.recipe_list import finetuning_list, pretraining_list
from w2v2cli.training.tasks.pretraining import Pretraining, build, network_config

# What differs from the baseline, as the paper's tables say: settings of the run (with dots) and
# fields of the network.
CONTINUOUS = {"quantized_targets": False}
SEPARATE = {
    "objective.mask.time_probability": 0.037,
    "objective.mask.time_overlap": False,
}
EXPECTED = {
    "quantized-inputs": {"quantized_inputs": True},
    "quantized-inputs-only": {**CONTINUOUS, "quantized_inputs": True},
    "continuous": CONTINUOUS,
    "span-8": {"objective.mask.time_span": 8},
    "span-12": {"objective.mask.time_span": 12},
    "span-15": {"objective.mask.time_span": 15},
    "p-0.065": {"objective.mask.time_probability": 0.065},
    "p-0.06": {"objective.mask.time_probability": 0.06},
    "uniform-1-31": {
        **SEPARATE,
        "objective.mask.time_lengths": "uniform",
        "objective.mask.time_span": 31,
        "objective.mask.time_spread": 1.0,
    },
    "uniform-10-30": {
        **SEPARATE,
        "objective.mask.time_lengths": "uniform",
        "objective.mask.time_span": 30,
        "objective.mask.time_spread": 10.0,
    },
    "poisson-15": {
        **SEPARATE,
        "objective.mask.time_lengths": "poisson",
        "objective.mask.time_span": 15,
    },
    "normal-15-10": {
        **SEPARATE,
        "objective.mask.time_lengths": "normal",
        "objective.mask.time_span": 15,
        "objective.mask.time_spread": 10.0,
    },
    "no-overlap-10": SEPARATE,
    "no-overlap-15": {**SEPARATE, "objective.mask.time_span": 15},
    "mlp": {**CONTINUOUS, "target_glu": True},
    "separate-encoders": {**CONTINUOUS, "separate_encoders": True},
    "30ms": {"conv_layers": 480},
    "alpha-0": {"objective.diversity_weight": 0.0},
    "alpha-0.05": {"objective.diversity_weight": 0.05},
    "alpha-0.2": {"objective.diversity_weight": 0.2},
    "position-256": {"position_kernel": 256},
    "no-target-gradient": {"objective.target_gradient": False},
    "k-200": {"objective.distractors": 200},
    "k-50-batch-50": {"objective.distractors": 50, "objective.batch_distractors": 50},
    "any-step": {"objective.distractors_anywhere": True},
    "no-noise": {"objective.gumbel_noise": False},
    "g-4-v-18": {"codebooks": 4, "codebook_entries": 18},
    "g-8-v-8": {"codebooks": 8, "codebook_entries": 8},
    **{f"u-{steps}": {"objective.edge_steps": steps} for steps in (1, 5, 10, 15, 20)},
}


def flat(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def settings_of(run):
    """All that decides a run: its settings, and the network that comes of them."""
    network = network_config(run)
    both = asdict(network) | dict(flat(asdict(run)))
    del both["architecture"]
    return both | {"conv_layers": network.receptive_field, "stride": network.stride}


def test_every_row_of_the_tables_is_there():
    """Without baselines table 4 has 3 rows, table 5 has 11 and table 13 has 19 new ones."""
    assert set(ABLATIONS) == set(EXPECTED) and len(ABLATIONS) == 3 + 11 + 19


@pytest.mark.parametrize("name", EXPECTED)
def test_an_ablation_changes_its_row_and_nothing_else(name):
    baseline = settings_of(PRETRAINING["ablation"]())
    row = settings_of(PRETRAINING[f"ablation-{name}"]())
    assert {key: row[key] for key in row if row[key] != baseline[key]} == EXPECTED[name]


def test_the_baseline_is_the_papers():
    run, base = PRETRAINING["ablation"](), PRETRAINING["base-960"]()
    assert run.schedule.updates == 250_000 and run.objective.mask.time_probability == 0.075
    assert (run.model, run.total_batch_hours) == (base.model, base.total_batch_hours)


@pytest.mark.parametrize("name", ["poisson-15", "normal-15-10", "no-overlap-15"])
def test_spans_of_15_without_overlap_hide_about_as_much_as_the_baseline(name):
    """As table 5 says of p = 0.037; a crop of 15.6 s has 780 frames."""
    lengths = torch.full((500,), 780)
    share = {
        recipe: sample_time_mask(
            lengths,
            780,
            PRETRAINING[recipe]().objective.mask,
            torch.Generator().manual_seed(0),
        )
        .float()
        .mean()
        .item()
        for recipe in ("ablation", f"ablation-{name}")
    }
    assert share[f"ablation-{name}"] == pytest.approx(share["ablation"], abs=0.03)


def test_ablations_are_fine_tuned_on_one_gpu():
    run = FINETUNING["ablation"]()
    assert run.schedule.updates == 60_000 and run.batch_seconds * 16_000 == 640_000
    assert run.accumulation(world=1) == 1


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_recipe_can_be_looked_at(name):
    text = pretraining_dry_run(recipe=name).text()
    network = network_config(PRETRAINING[name]())
    assert f"  num_heads = {network.num_heads}\n" in text
    assert f"  target_glu = {network.target_glu}" in text


@pytest.mark.parametrize("name", FINETUNING)
def test_every_recipe_of_fine_tuning_can_be_looked_at(name):
    text = finetuning_dry_run(recipe=name, model="tiny-config").text()
    assert f"schedule.decay = {FINETUNING[name]().schedule.decay}\n" in text


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains_a_tiny_network(name):
    run = changed(PRETRAINING[f"ablation-{name}"](), {"model": "tiny"})
    torch.manual_seed(0)
    network = build(run).train()
    task = Pretraining(run, validation=None)
    loss = one_loss(network, task, seed=1)
    loss.backward()
    learned = {n for n, p in network.named_parameters() if p.grad is not None}
    every = {n for n, _ in network.named_parameters()}
    assert loss.isfinite() and learned == every


def one_loss(network, task, seed):
    from w2v2cli.data.dataset import Batch
    from w2v2cli.training.tasks.protocol import Draws

    lengths = torch.tensor([16_000, 12_000])
    empty = torch.zeros(0, dtype=torch.long)
    torch.manual_seed(2)
    batch = Batch(
        torch.randn(2, 16_000), lengths, empty, torch.zeros(2, dtype=torch.long), ("a", "b")
    )
    draws = Draws(
        0, torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed), [True, True]
    )
    prepared = task.prepare(batch, draws, torch.device("cpu"))
    torch.manual_seed(3)
    return task.loss(network, prepared, draws)[0]


@pytest.mark.parametrize(("name", "same"), [("ablation-no-noise", True), ("ablation", False)])
def test_without_gumbel_noise_the_choice_does_not_depend_on_a_generator(name, same):
    run = changed(PRETRAINING[name](), {"model": "tiny"})
    network, task = build(run).train(), Pretraining(run, validation=None)
    losses = [one_loss(network, task, seed).item() for seed in (1, 2)]
    assert (losses[0] == losses[1]) == same


def test_the_lists_name_every_recipe():
    words = set(pretraining_list().split())
    assert set(PRETRAINING) <= words and "7.89" in words
    assert set(FINETUNING) <= set(finetuning_list().split())


def test_a_wrong_recipe_says_where_the_names_are(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["w2v2", "pretrain", "--recipe", "ablation-0", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2 and "base-960, large-960" in told
    assert "ablation-ROW, all of which --recipes lists; got 'ablation-0'" in told
