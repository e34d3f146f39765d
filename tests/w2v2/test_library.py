"""The package as people import it: names, costs, and results equal to the commands'."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import w2v2

ROOT = Path(__file__).parents[2]
CLIPS = sorted((ROOT / "w2v2cli" / "shipped" / "recordings").glob("*.flac"))

NAMES = """Alignment DecodingOptions Evaluation Recognizer RunResult Segment TimedWord Transcript
TuningResult UsageError UserError __version__ align evaluate finetune load load_checkpoint pretrain
tune""".split()


def test_the_public_names_are_these_and_all_of_them_resolve():
    assert w2v2.__all__ == NAMES
    assert dir(w2v2) == sorted(NAMES)
    for name in NAMES:
        assert getattr(w2v2, name) is not None
    with pytest.raises(AttributeError, match="'w2v2' has no attribute 'lode'"):
        w2v2.lode  # noqa: B018


def test_importing_it_imports_nothing_heavy():
    script = "import sys, w2v2; w2v2.UserError; w2v2.DecodingOptions\n"
    script += "print(sorted({'torch', 'numpy', 'soundfile', 'typer', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("package", ["w2v2", "w2v2cli", "lm", "models", "storage"])
def test_type_checkers_read_the_hints(package):
    assert (ROOT / package / "py.typed").is_file()


@pytest.fixture(scope="module")
def model():
    with w2v2.load(device="cpu", precision="fp32") as model:
        yield model


def command(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "w2v2cli", "transcribe", *args],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_path_gives_what_the_command_prints():
    with w2v2.load(lm="4gram", beam=50, workers=1) as model:
        found = model.transcribe(str(CLIPS[0]))
    assert found.text + "\n" == command(str(CLIPS[0]), "--lm", "4gram", "--beam", "50")
    assert [word.text for word in found.words] == found.text.split()
    assert all(0 <= word.start < word.end <= found.seconds for word in found.words)
    assert all(0 <= word.confidence <= 1 for word in found.words)


@pytest.mark.parametrize("kind", ["float", "int16", "channels first", "channels last", "tensor"])
def test_samples_give_what_their_file_gives(model, kind):
    samples, rate = soundfile.read(CLIPS[0], dtype="int16" if kind == "int16" else "float32")
    given = {
        "channels first": lambda: np.stack([samples, samples]),
        "channels last": lambda: np.stack([samples, samples], axis=1),
        "tensor": lambda: torch.from_numpy(samples),
    }.get(kind, lambda: samples)()
    assert model.transcribe((given, rate)).text == model.transcribe(CLIPS[0]).text


def test_many_recordings_come_one_by_one_in_their_order(model):
    alone = [model.transcribe(path).text for path in CLIPS[:3]]
    many = model.transcribe(path for path in CLIPS[:3])
    assert next(many).text == alone[0]
    assert [transcript.text for transcript in many] == alone[1:]


def test_one_unreadable_recording_among_many_is_told_or_raised(model, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    three = [CLIPS[0], tmp_path / "no.wav", (np.array([np.nan, 0.0]), 16_000)]
    failed = []
    found = list(model.transcribe(three, on_error=lambda name, why: failed.append((name, why))))
    assert [item.recording for item in found] == [str(CLIPS[0])]
    assert [name for name, _ in failed] == [str(tmp_path / "no.wav"), "recording 2"]
    assert "not numbers" in failed[1][1]
    with pytest.raises(w2v2.UserError, match=r"no\.wav"):
        list(model.transcribe(three))
    with pytest.raises(w2v2.UserError, match=r"no\.wav"):
        model.transcribe(tmp_path / "no.wav")
    with pytest.raises(TypeError, match="A recording is a path or"):
        list(model.transcribe([3]))


def test_emissions_are_log_probabilities_of_the_whole(model):
    found = model.emissions(CLIPS[0])
    assert found.dtype == np.float32 and found.shape[1] == len(model.labels)
    assert np.allclose(np.exp(found).sum(1), 1, atol=1e-4)
    assert abs(len(found) * model.seconds_per_frame - model.transcribe(CLIPS[0]).seconds) < 0.1
    first, second = model.emissions(iter([CLIPS[0], CLIPS[1]]))
    assert np.allclose(first, found, atol=1e-4) and len(second)


def test_options_that_are_wrong_are_refused_with_the_nearest():
    with pytest.raises(TypeError, match="no option 'beem'; did you mean beam"):
        w2v2.load(beem=5)
    with pytest.raises(w2v2.UsageError, match="Did you mean compiled"):
        w2v2.load(lm="4gram", search="compild")
    with pytest.raises(w2v2.UsageError, match="--beam must be at least 1, got 0"):
        w2v2.load(lm="4gram", beam=0)
    with pytest.raises(w2v2.UsageError, match="did you mean demo"):
        w2v2.load("dema")


def test_warnings_are_python_warnings_or_go_to_a_callback(tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("THE\tT H E |\nÉTÉ\tÉ T É |\n")
    told = []
    with w2v2.load(lexicon=str(lexicon), warn=told.append) as model:
        model.transcribe(CLIPS[0])
    assert len(told) == 1 and "ÉTÉ" in told[0]
    with pytest.warns(UserWarning, match="ÉTÉ") as caught, w2v2.load(lexicon=lexicon):
        pass
    assert caught[0].filename == __file__
    with pytest.raises(UserWarning, match="ÉTÉ"), warnings.catch_warnings():
        warnings.simplefilter("error")
        w2v2.load(lexicon=lexicon)


def test_closing_ends_the_search_processes_and_may_be_repeated():
    model = w2v2.load(lm="4gram", beam=20, workers=1)
    server = model._pipeline.pool._server
    assert server.process.poll() is None
    model.close()
    model.close()
    assert server.process.poll() is not None


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    lines = (CLIPS[0].parent / "transcripts.tsv").read_text().splitlines()
    for path in CLIPS[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    names = {path.stem for path in CLIPS[:2]}
    kept = [lines[0], *(line for line in lines[1:] if line.split("\t")[0] in names)]
    (folder / "transcripts.tsv").write_text("\n".join(kept) + "\n")
    return folder


def test_evaluation_counts_the_errors_of_a_corpus(corpus, tmp_path):
    done = []
    [found] = w2v2.evaluate(
        corpus,
        lm="none",
        output=tmp_path / "rows.jsonl",
        on_progress=lambda *counts: done.append(counts),
    )
    assert len(found.utterances) == 2 and not found.failures
    assert 0 < found.words.rate < 1 and found.words.reference > 10
    assert done == [(1, 2), (2, 2)]
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2
    again = w2v2.evaluate(
        corpus,
        lm="none",
        output=tmp_path / "rows.jsonl",
        skip_existing=True,
        report=tmp_path / "report.html",
        compare=tmp_path / "rows.jsonl",
    )
    assert again[0].words == found.words
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 and f"{found.words.rate * 100:.2f}" in page
    assert "has as many errors as demo" in page


def test_a_checkpoint_is_a_plain_module(model):
    network = w2v2.load_checkpoint("demo")
    assert isinstance(network, torch.nn.Module) and not network.training
    samples, _ = soundfile.read(CLIPS[0], dtype="float32")
    with torch.inference_mode():
        logits, frames = network(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    expected = model.emissions(CLIPS[0])
    assert logits.shape == (1, int(frames[0]), len(model.labels))
    assert np.allclose(logits[0].log_softmax(-1).numpy(), expected, atol=2e-3)
