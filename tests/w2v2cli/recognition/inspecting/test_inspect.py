"""Pictures of what a network makes of a recording."""

import numpy as np
import pytest
import soundfile
from calls import called

from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.config import tiny
from models.pretraining import Wav2Vec2ForPretraining
from w2v2cli.data.locations import SHIPPED
from w2v2cli.errors import UserError
from w2v2cli.recognition.inspecting.drawing import draw, shown_rows
from w2v2cli.recognition.inspecting.looking import Emissions, Look, look

CLIP = min((SHIPPED / "recordings").glob("*.flac"))
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def demo():
    return load_checkpoint(SHIPPED / "demo.safetensors")


@pytest.fixture
def pretrained(tmp_path):
    network = Wav2Vec2ForPretraining(tiny())
    path = tmp_path / "pretrained.safetensors"
    save_checkpoint(path, Checkpoint(tiny(), network.state_dict(), None, {}))
    return path


def test_a_part_is_cut_and_its_text_laid_onto_it(demo):
    found = look(demo, CLIP, start=0.0, seconds=1.7, text="But the general revival", device="cpu")
    assert found.seconds == pytest.approx(1.7, abs=1e-3) and found.codes is None
    assert isinstance(found.emissions, Emissions)
    assert [word for word, _, _ in found.emissions.words] == "But the general revival".split()
    letters = found.emissions.vocabulary.text(
        s
        for s, before in zip(found.emissions.path, [-1, *found.emissions.path], strict=False)
        if s != before
    )
    assert letters == "BUT THE GENERAL REVIVAL"
    rows = shown_rows(found.emissions)
    vocabulary = found.emissions.vocabulary
    assert rows[:2] == [vocabulary.blank, vocabulary.word_boundary]
    assert set(found.emissions.path.tolist()) <= set(rows)


def test_the_best_path_is_the_default_and_a_later_part_is_heard(demo, tmp_path):
    samples, rate = soundfile.read(CLIP, dtype="int16")
    soundfile.write(tmp_path / "part.wav", samples[2 * rate : 4 * rate], rate)
    part = look(demo, CLIP, start=2.0, seconds=2.0, device="cpu")
    alone = look(demo, tmp_path / "part.wav", device="cpu")
    assert part.start == 2.0 and np.array_equal(part.samples, alone.samples)
    assert part.emissions.words == alone.emissions.words
    assert np.array_equal(part.emissions.path, part.emissions.log_probs.argmax(1))


def test_the_command_writes_a_picture_of_emissions_and_one_of_codes(pretrained, tmp_path):
    call = ("inspect", CLIP, "--seconds", 2, "-o")
    assert called(*call, tmp_path / "a.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    done = called(*call, tmp_path / "b.svg", "--model", pretrained)
    assert done.returncode == 0 and done.stderr == f"The picture is {tmp_path / 'b.svg'}.\n"
    assert "</svg>" in (tmp_path / "b.svg").read_text()


def test_names_and_words_with_signs_of_formulas_are_drawn(demo, tmp_path):
    found = look(demo, CLIP, seconds=1.0, text="$5 b_u^t", device="cpu")
    strange = Look(
        "a$\udcff_$.wav",
        found.samples,
        0.0,
        found.frame_seconds,
        found.emissions,
        np.zeros((50, 1), np.int64),
        320,
    )
    draw(strange, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seconds", 0], "--seconds is above 0 and at most 60, got 0."),
        (["--start", 99], "5.4 s: nothing is there from 99 s on."),
        (["-o", "a.jpg"], "Pictures are drawn as .png, .svg or .pdf, got a.jpg"),
        (["--text", "no.txt"], "There is no file no.txt with a text."),
    ],
)
def test_wrong_calls_are_one_sentence(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = called("inspect", CLIP, "--device", "cpu", *args)
    assert done.returncode in (1, 2)
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_text_needs_a_model_that_recognises(pretrained):
    with pytest.raises(UserError, match="only pretrained"):
        look(load_checkpoint(pretrained), CLIP, text="but")
