"""What is held out: whole speakers where they are known, else utterances by their ids."""

import random

import pytest

from w2v2cli.data.corpora.held_out import LARGEST, SHARE, divided, split_of


def corpus(speakers):
    draw = random.Random(0)
    names = [f"s{number}" for number in range(speakers) for _ in range(draw.randint(3, 9))]
    return [f"u{i}" for i in range(len(names))], names, [draw.uniform(1, 9) for _ in names]


@pytest.mark.parametrize("speakers", [12, 31, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_speaker_is_in_two_parts_and_each_part_has_its_share(speakers, seed):
    ids, names, lengths = corpus(speakers)
    found = divided(ids, names, lengths, seed=seed)
    assert found.by_speaker
    whose = {
        part: {n for n, s in zip(names, found.splits, strict=True) if s == part}
        for part in ("train", "dev", "test")
    }
    assert not (whose["train"] & whose["dev"] | whose["dev"] & whose["test"])
    assert whose["train"] | whose["dev"] | whose["test"] == set(names)
    for part in ("dev", "test"):
        share = sum(x for x, s in zip(lengths, found.splits, strict=True) if s == part)
        assert SHARE / 4 <= share / sum(lengths) <= LARGEST * SHARE


def test_the_choice_is_fixed_by_the_seed_and_not_by_the_order():
    ids, names, lengths = corpus(30)
    found = dict(zip(ids, divided(ids, names, lengths).splits, strict=True))
    shuffled = list(zip(ids, names, lengths, strict=True))
    random.Random(3).shuffle(shuffled)
    mixed = list(zip(*shuffled, strict=True))
    assert dict(zip(mixed[0], divided(*mixed).splits, strict=True)) == found
    other = divided(ids, names, lengths, seed=1).splits
    assert other != tuple(found[name] for name in ids)


def test_nothing_is_held_out_that_nobody_uses():
    ids, names, lengths = corpus(30)
    assert set(divided(ids, names, lengths, ["dev"]).splits) == {"train", "dev"}
    without = divided(ids, [None] * len(ids), lengths, ["dev"])
    assert set(without.splits) == {"train", "dev"}
    for name, split in zip(ids, without.splits, strict=True):
        assert (split == "dev") == (split_of(name) == "dev")


@pytest.mark.parametrize("speakers", [["a"], ["a", "b"], ["a", "b", None]])
def test_the_ids_decide_where_speakers_are_unknown_or_too_few(speakers):
    ids = [f"u{i}" for i in range(60)]
    names = [speakers[i % len(speakers)] for i in range(60)]
    found = divided(ids, names, [1.0] * 60)
    assert not found.by_speaker and found.splits == tuple(map(split_of, ids))


def test_one_speaker_who_has_nearly_all_is_never_held_out():
    names = ["big"] * 80 + [f"s{i}" for i in range(20)]
    for seed in range(10):
        found = divided([f"u{i}" for i in range(100)], names, [1.0] * 100, seed=seed)
        assert set(found.splits[:80]) == {"train"}


def test_no_more_is_held_out_than_can_be_validated_on():
    ids, names, lengths = corpus(100)
    found = divided(ids, names, lengths, ["dev"], most=40.0)
    held = sum(x for x, s in zip(lengths, found.splits, strict=True) if s == "dev")
    assert found.by_speaker and 0 < held <= LARGEST * 40
