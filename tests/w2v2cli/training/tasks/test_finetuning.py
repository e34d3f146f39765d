"""The task of fine-tuning on a tiny network: what is drawn for it, and what it tells."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recordings import Spoken

from lm.text.normalizers import Normalizer
from lm.text.vocabulary import Vocabulary
from models.config import tiny
from models.masking import DrawnMask
from w2v2cli.data.dataset import TrainingSet, collate
from w2v2cli.processes import Ranks
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.runs.vocabulary import vocabulary_of
from w2v2cli.training.tasks.finetuning import Finetuning, Start, build, regularised
from w2v2cli.training.tasks.protocol import Draws

CPU = torch.device("cpu")
ALONE = Collectives(Ranks(), CPU)
PLAIN = {"dropout": 0, "activation_dropout": 0, "layer_drop": 0, "precision": "fp32"}


def finetuning(texts=("A CAT", "NO", "TEN DOGS"), recipe="demo", pool=None, **settings):
    run = changed(FINETUNING[recipe](), {**PLAIN, **settings})
    vocabulary: Vocabulary = vocabulary_of(run, texts)
    start = Start(tiny(), None)
    source = Spoken(texts, longer=1_600)
    labels = tuple(vocabulary.transcript_ids(text) for text in texts)
    held_out = TrainingSet(source, np.arange(len(texts)), labels)
    task = Finetuning(run, start, vocabulary, held_out, pool)
    return task, build(start, run, vocabulary).train()


def batch_of(task):
    source = task.held_out.source
    waveforms = [torch.from_numpy(source.read(i)) for i in range(len(source.ids))]
    labels = [torch.tensor(spelled) for spelled in task.held_out.labels]
    return collate(waveforms, labels, source.ids)


def draws(seed):
    return Draws(0, torch.Generator().manual_seed(seed), torch.Generator(), None)


def test_masks_come_from_the_micro_batchs_generator_and_from_nothing_else():
    settings = {"mask.time_probability": 0.1, "mask.channel_probability": 0.05}
    task, _ = finetuning(**settings, **{"mask.channel_span": 4})
    batch = batch_of(task)
    frames = tiny().frame_lengths(batch.lengths)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))  # dropout's generator has no part in it
        found.append(task.prepare(batch, draws(seed), CPU).drawn)
    expected = DrawnMask.draw(frames, 32, task.run.mask, torch.Generator().manual_seed(1))
    for mask in found[:2]:
        assert torch.equal(mask.frames, expected.frames)
        assert torch.equal(mask.channels, expected.channels)
    assert not torch.equal(found[2].frames, expected.frames)
    assert found[0].frames.any(1).all() and found[0].channels.any(1).all()


def test_the_network_hides_what_was_drawn():
    task, network = finetuning(**{"mask.time_probability": 0.1})
    prepared = task.prepare(batch_of(task), draws(1), CPU)
    seen = []
    network.wav2vec2.context_network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(task.loss(network, prepared, draws(1))[0].item())
    assert losses[0] == losses[1]
    vector = network.wav2vec2.mask_vector
    assert torch.equal((seen[0] == vector).all(-1), prepared.drawn.frames)


def test_dropout_is_also_that_of_the_output():
    run = changed(FINETUNING["scratch"](), {})
    config = regularised(tiny(), run)
    assert (config.dropout, config.feature_dropout, config.final_dropout) == (0.1, 0.1, 0.1)
    assert regularised(replace(tiny(), final_dropout=0.3), FINETUNING["demo"]()).final_dropout == 0


def test_masks_are_of_the_encoders_frames_where_an_adapter_leaves_fewer():
    task, _ = finetuning()
    adapted = replace(tiny(), adapter=True)
    task.start = replace(task.start, config=adapted)
    drawn = task.prepare(batch_of(task), draws(1), CPU).drawn
    assert drawn.frames.shape[1] == int(tiny().frame_lengths(19_200))


def by_hand(network, task):
    """Loss of each utterance alone, its labels, blank frames and frames, by transformers' way."""
    source, found = task.held_out.source, []
    network.eval()
    for i, spelled in enumerate(task.held_out.labels):
        waveform = torch.from_numpy(source.read(i))[None]
        with torch.no_grad():
            logits, _ = network(waveform, torch.tensor([waveform.shape[1]]))
        log_probs = logits.float().log_softmax(-1)[0]
        loss = torch.nn.functional.ctc_loss(
            log_probs, torch.tensor(spelled), [len(log_probs)], [len(spelled)], reduction="sum"
        )
        blanks = int((log_probs.argmax(-1) == task.vocabulary.blank).sum())
        found.append((float(loss), len(spelled), blanks, len(log_probs)))
    return [sum(column) for column in zip(*found, strict=True)]


def test_a_validation_tells_the_loss_per_label_and_the_share_of_blanks():
    task, network = finetuning()
    with torch.no_grad():
        network.output.bias[task.vocabulary.blank] += 0.3
    loss, labels, blanks, frames = by_hand(network, task)
    assert 0 < blanks < frames  # else the shares would tell nothing
    scores = task.validate(network, ALONE)
    assert scores["valid_loss"] == pytest.approx(loss / labels, rel=1e-4)
    assert scores["valid_blanks"] == pytest.approx(blanks / frames, rel=1e-6)
    assert {"wer", "cer"} <= scores.keys()


def test_an_update_tells_its_share_of_blanks():
    task, network = finetuning(**{"mask.time_probability": 0.0})
    with torch.no_grad():
        network.output.bias[task.vocabulary.blank] += 0.3
    _, _, blanks, frames = by_hand(network, task)
    prepared = task.prepare(batch_of(task), draws(1), CPU)
    _, sums = task.loss(network, prepared, draws(1))
    told = task.summary({"loss": 12.0, **{n: float(v) for n, v in sums.items()}}, 6, 1)
    assert told == {"loss": 2.0, "blanks": pytest.approx(blanks / frames)}


def test_labels_that_find_no_room_are_counted_and_told():
    task, network = finetuning(texts=("A CAT", "ABCDE " * 40))
    prepared = task.prepare(batch_of(task), draws(1), CPU)
    loss, sums = task.loss(network, prepared, draws(1))
    assert float(sums["unspelled"]) == 1 and loss.isfinite()
    told = task.summary({"loss": 1.0, **{n: float(v) for n, v in sums.items()}}, 1, 1)
    key, sentence = task.watch({"update": 7, **told})
    assert key == "unspelled" and "Update 7 has 1 utterances with more labels" in sentence


class Searching:
    """A pool that finds the same words in everything."""

    def __init__(self):
        self.asked = 0

    def submit(self, emissions):
        self.asked += 1
        return self

    def result(self):
        return [self]

    text = "A CAT"


@pytest.mark.parametrize(
    ("settings", "learns", "searched"),
    [
        ({"head_only_updates": 5}, False, False),
        ({"head_only_updates": 5}, True, True),
        ({"head_only_updates": 5, "search_while_frozen": True}, False, True),
        ({"head_only_updates": 6000}, False, True),  # nothing else is ever judged
    ],
)
def test_a_search_waits_until_the_transformer_learns(settings, learns, searched):
    pool = Searching()
    task, network = finetuning(pool=pool, **settings)
    names = task.learning(network, 5 if learns else 0)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)
    scores = task.validate(network, ALONE)
    assert bool(pool.asked) == searched == (task.judged_by in scores)
    assert "wer" in scores


@pytest.mark.parametrize(
    ("letters", "rate"), [("ABC", "wer"), ("çağrı", "wer"), ("今天天气", "cer"), ("ไทย", "cer")]
)
def test_scripts_without_spaces_are_judged_by_characters(letters, rate):
    task, _ = finetuning()
    labels = ("<pad>", "|", *dict.fromkeys(letters))
    vocabulary = Vocabulary.from_labels(labels, normalizer=Normalizer("basic", "keep"))
    assert replace(task, vocabulary=vocabulary).judged_by == rate
    assert replace(task, vocabulary=vocabulary, pool=Searching()).judged_by == f"{rate}_lm"


def validated(update, loss, wer, blanks=0.5):
    return {"update": update, "valid_loss": loss, "wer": wer, "valid_blanks": blanks}


def test_a_network_that_writes_nothing_is_told_once_it_should():
    task, _ = finetuning(head_only_updates=1000)
    assert task.watch(validated(900, 3.0, 1.0, blanks=1.0)) is None  # the output layer alone
    assert task.watch(validated(1100, 3.0, 0.4, blanks=0.995)) is None  # few words, but right
    key, sentence = task.watch(validated(1100, 3.0, 1.0, blanks=1.0))
    assert key == "silent" and "100.0% of the held-out frames are blank" in sentence


def test_a_loss_that_rises_while_errors_fall_is_told():
    rising = [(1.0, 0.30), (1.1, 0.28), (1.2, 0.27)]
    for rows, warned in (
        (rising, True),
        ([(1.0, 0.30), (1.1, 0.31), (1.2, 0.27)], False),
        ([(1.2, 0.30), (1.1, 0.28), (1.2, 0.27)], False),
    ):
        task, _ = finetuning()
        told = [task.watch(validated(i * 500, *row)) for i, row in enumerate(rows, 1)]
        assert told[:2] == [None, None] and (told[2] is not None) == warned
    task, _ = finetuning()
    told = [task.watch(validated(i * 500, *row)) for i, row in enumerate(rising, 1)]
    assert "rises (1 to 1.2) while the error rate falls (30.00% to 27.00%)" in told[2][1]
    assert "too sure of itself, as it does on little data." in told[2][1]


def test_labels_without_room_do_not_hide_what_a_validation_shows():
    task, _ = finetuning(head_only_updates=0)
    assert task.watch({"update": 400, "unspelled": 2.0})[0] == "unspelled"
    told = task.watch({**validated(5000, 3.0, 1.0, blanks=1.0), "unspelled": 2.0})
    assert told[0] == "silent"
