"""Lists, lexicons, language models and a recording that once went wrong, as they were kept.

`tests/w2v2cli/data/decoding/test_containers.py` hears the other recordings of the collection.
"""

import pytest
from calls import called

from w2v2cli.data.corpora.catalogue import find_splits


@pytest.fixture
def faults(shared_data, tmp_path, monkeypatch):
    """The folder of the collection."""
    folder = shared_data / "faults"
    if not folder.is_dir():
        pytest.skip("needs the collection of faults")
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    return folder


def test_a_byte_order_mark_before_a_manifest_is_passed_over(faults):
    [split] = find_splits(None, faults / "bom.jsonl")
    assert [u.text for u in split.utterances] == ["and the other"]


def test_an_offset_in_a_manifest_cuts_the_recording(faults):
    [split] = find_splits(None, faults / "nemo_offset.jsonl")
    cuts = [(u.path.name, u.start, u.samples) for u in split.utterances]
    assert cuts == [("b.flac", 0, 41_600), ("b.flac", 41_600, 64_000)]


def test_a_byte_order_mark_before_a_language_model_is_passed_over(faults):
    heard = called(
        "transcribe", "-q", faults / "a.flac", "--lm", faults / "v_bom.arpa", "--beam", 10
    )
    assert heard.returncode == 0 and heard.stdout.strip() and heard.stderr == ""


@pytest.mark.parametrize("engine", ["auto", "batched", "compiled"])
def test_a_language_model_that_lacks_a_context_is_refused_by_every_engine(faults, engine):
    call = "transcribe", "-q", faults / "a.flac", "--lm", faults / "v_missing_ctx.arpa"
    refused = called(*call, "--search", engine)
    assert refused.returncode in (1, 2) and refused.stdout == ""
    assert refused.stderr.endswith("promises 17 2-grams, but after 16 comes '\\3-grams:'.\n")


def test_a_nul_in_a_lexicon_is_refused_with_its_line(faults):
    lexicon = faults / "nul-lexicon.txt"
    refused = called("transcribe", "-q", faults / "a.flac", "--lm", "4gram", "--lexicon", lexicon)
    assert refused.returncode in (1, 2) and refused.stdout == ""
    assert f"{lexicon}, line 3: the word 'A\\x00B' has a NUL" in refused.stderr


def test_samples_beyond_all_sound_are_the_recordings_fault(faults):
    refused = called("transcribe", "-q", faults / "o_huge.wav")
    assert (refused.returncode, refused.stdout.strip()) == (1, "")
    assert "o_huge.wav holds samples of " in refused.stderr and "which are no sound" in (
        refused.stderr
    )
    assert "model" not in refused.stderr
