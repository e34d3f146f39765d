"""`transcribe --live`: the words of a recording before it has ended, the same as at its end."""

import numpy as np
import pytest
import soundfile
import torch
from calls import called

from models.checkpoint import Checkpoint, save_checkpoint
from models.config import tiny
from models.importers.reader import read_model
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.locations import DEMO_MODEL, SHIPPED
from w2v2cli.errors import UserError
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.transcribing import Writing, transcribe_live, transcribe_recordings

CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))
SECONDS = 80.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of random weights, which hears letters in noise."""
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    demo = read_model(DEMO_MODEL)
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(tiny(), len(demo.labels))
    with torch.no_grad():
        network.output.weight.mul_(20)
    save_checkpoint(path, Checkpoint(tiny(), network.state_dict(), demo.labels, demo.metadata))
    return str(path)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.flac"
    noise = np.random.default_rng(0).normal(0, 0.1, int(SECONDS * 16_000))
    soundfile.write(path, noise, 16_000)
    return path


@pytest.mark.parametrize("lm", ["none", "4gram"])
def test_words_come_early_and_are_those_of_the_end(model, long, lm):
    own = {} if lm == "none" else {"lm": str(SHIPPED / "demo-4gram.arpa.gz")}
    options = DecodingOptions(model=model, device="cpu", beam=5, batch_seconds=31.0, **own)
    settings = resolve(options)
    whole, written, heard = [], [], []
    early = []  # seconds that were heard when words were written

    def write(text: str) -> None:
        early.append(heard[-1].seconds)
        written.append(text)

    transcribe_recordings(settings, [str(long)], Writing(), write=whole.append)
    transcribe_live(settings, [str(long)], write=write, on_progress=heard.append)
    assert "".join(written) == "".join(whole)
    assert len(written) > 3 and written[-1] == "\n"
    seconds = [now.seconds for now in heard]
    assert seconds == sorted(seconds) and heard[-1].recordings == 1
    assert [now for now in seconds if 5 < now < SECONDS - 5]
    assert early[0] < SECONDS - 5
    assert seconds[-1] == heard[-1].total == SECONDS


def test_what_was_heard_of_a_recording_that_cannot_be_read_on_stays(model, long, tmp_path):
    damaged = tmp_path / "damaged.flac"
    content = bytearray(long.read_bytes())
    content[len(content) * 9 // 10 :] = bytes(len(content) - len(content) * 9 // 10)
    damaged.write_bytes(content)
    settings = resolve(DecodingOptions(model=model, device="cpu", batch_seconds=31.0))
    written, told = [], []
    try:
        transcribe_live(settings, [str(damaged)], write=written.append, note=told.append)
    except UserError as error:
        told.append(str(error))
    assert len(written) > 1 and written[-1] == "\n"
    assert len(told) == 1 and str(damaged) in told[0]


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ("--format srt", "--live prints txt, not srt: leave it out, and srt is written at the end"),
        ("--output-dir {out}", "--live prints on stdout: leave out --output-dir, or use > FILE"),
        ("--stream", "--stream prints words as they come already: leave out --live"),
        ("{other}", "--live takes one recording, and this call names 2"),
    ],
)
def test_what_cannot_come_as_it_is_found_is_refused(args, refusal, tmp_path):
    args = args.format(out=tmp_path / "out", other=CLIPS[1])
    done = called("transcribe", "-q", "--live", CLIPS[0], *args.split())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"Error: {refusal}.\n")
