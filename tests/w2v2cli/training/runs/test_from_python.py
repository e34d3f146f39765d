"""The jobs as Python calls them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.text.normalizers import Normalizer
from lm.text.reading import AS_IT_IS
from models.checkpoint import Checkpoint
from models.config import tiny
from models.importers.huggingface_writing import write_huggingface
from models.importers.labels import STANDARD
from models.importers.reader import read_model
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.runs.finetune import finetune, finetuning_config, finetuning_dry_run
from w2v2cli.training.runs.language_model import train_language_model
from w2v2cli.training.runs.pretrain import pretrain, pretraining_dry_run
from w2v2cli.training.runs.sources import labelled_recordings, unlabelled_recordings
from w2v2cli.training.runs.vocabulary import keep_vocabulary, vocabulary_of
from w2v2cli.training.tasks.finetuning import Finetuning

CORPUS = Path(__file__).parents[4] / "w2v2cli" / "shipped" / "corpus" / "dev-clean"
SMALL = {
    "model": "tiny",
    "schedule.updates": 2,
    "shortest_seconds": 0.5,
    "crop_seconds": 2.0,
    "batch_seconds": 8.0,
    "precision": "fp32",
}

SCRIPT = f"""
from w2v2cli.training.runs.pretrain import pretrain

print("the script runs")
result = pretrain(
    {str(CORPUS)!r},
    output="run",
    recipe="small",
    valid={str(CORPUS.with_name("dev-other"))!r},
    settings={SMALL | {"loader_workers": 2}!r},
    device="cpu",
    on_progress=lambda progress: print(progress.update, progress.updates),
)
print(result.finished, result.checkpoint, result.metrics["update"])
"""


def test_a_script_without_a_main_guard_trains_with_loader_workers(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:3] == ["the script runs", "1 2", "2 2"]
    assert lines[3].split()[:2] == ["True", "run/best.safetensors"] and len(lines) == 4
    assert result.stderr == ""


def test_a_job_prints_nothing_and_returns_what_it_left(tmp_path, capfd):
    notes, warnings = [], []
    result = finetune(
        CORPUS,
        output=tmp_path,
        model="tiny-config",
        valid=CORPUS.with_name("test-clean"),
        peak_lr=[1e-3, 2e-3],
        settings={"schedule.updates": 1, "batch_seconds": 20, "precision": "fp32"},
        device="cpu",
        note=notes.append,
        warn=warnings.append,
    )
    assert result.finished and result.checkpoint == tmp_path / "best.safetensors"
    assert result.checkpoint.is_file()
    assert [run.peak_lr for run in result.candidates] in ([1e-3, 2e-3], [2e-3, 1e-3])
    assert result.metrics["wer"] == result.score == result.candidates[0].score
    assert any(note.startswith("Fine-tuning on 14 utterances") for note in notes)
    assert warnings == []
    assert capfd.readouterr() == ("", "")


def test_a_dry_run_has_every_setting():
    plan = pretraining_dry_run(recipe="small", settings={"seed": 7})
    assert dict(plan.rows)["parameters"] == "3.5 M"
    assert dict(plan.settings)["seed"] == 7 and "  seed = 7" in plan.text().splitlines()


def test_a_dry_run_counts_what_the_run_would_train_on(tmp_path):
    """With --valid nothing of the corpora is held out but that corpus's own utterances."""
    one = SMALL | {"schedule.updates": 1, "batch_seconds": 20.0}
    tuning = {name: one[name] for name in ("schedule.updates", "batch_seconds", "precision")}
    call = {"corpora": [CORPUS, CORPUS.with_name("test-clean")], "model": "tiny-config"}
    call |= {"settings": tuning}
    pre = {"corpora": CORPUS, "recipe": "small", "settings": one}
    for valid in (CORPUS.with_name("test-other"), None):
        notes = []
        finetune(valid=valid, output=tmp_path / f"{valid is None}-f", note=notes.append, **call)
        pretrain(valid=valid, output=tmp_path / f"{valid is None}-p", note=notes.append, **pre)
        plans = finetuning_dry_run(valid=valid, **call), pretraining_dry_run(valid=valid, **pre)
        trained = [int(n.split(" on ")[1].split()[0]) for n in notes if "validating" in n]
        assert [int(dict(plan.rows)["data"].split()[0]) for plan in plans] == trained


@pytest.mark.parametrize("head_only", [0, 1, 2])
def test_a_run_in_which_only_the_output_layer_would_learn_says_so(tmp_path, head_only):
    """Recipes hold 10 000 such updates, which --updates does not shorten."""
    settings = {"schedule.updates": 2, "batch_seconds": 20.0, "precision": "fp32"}
    settings |= {"head_only_updates": head_only}
    call = {"corpora": CORPUS, "model": "tiny-config", "settings": settings}
    warnings = []
    finetune(valid=CORPUS.with_name("test-clean"), output=tmp_path, warn=warnings.append, **call)
    said = [line for line in warnings if "Only the output layer learns in this run" in line]
    assert len(said) == (head_only == 2)
    assert all("2 updates" in line and "head_only_updates" in line for line in said)
    row = dict(finetuning_dry_run(**call).rows).get("output layer", "")
    assert row == (f"learns alone in the first {head_only} of 2 updates" if head_only else "")


@pytest.fixture
def several_languages(tmp_path):
    """A model with an adapter for each language, English the one of its main weights."""
    config = replace(tiny(), norm_order="pre", attention_adapter=4)
    ours = Wav2Vec2ForCTC(config, len(STANDARD))
    folder = tmp_path / "mms"
    write_huggingface(Checkpoint(config, ours.state_dict(), STANDARD), folder)
    labels = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({"eng": labels, "tur": labels}))
    tokens = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokens, "target_lang": "eng"}))
    weights = load_file(folder / "model.safetensors")
    adapter = {n: w + 1 for n, w in weights.items() if "adapter_layer" in n or "lm_head" in n}
    save_file(adapter, folder / "adapter.tur.safetensors")
    return folder


@pytest.mark.parametrize("language", ["tur", "xyz", ""])
def test_a_run_starts_from_the_adapter_of_its_language(tmp_path, several_languages, language):
    """And trains only the adapters where that is asked for; they stay in the checkpoint."""
    settings = {"schedule.updates": 2, "batch_seconds": 20.0, "precision": "fp32"}
    settings |= {"adapters_only": True, "language": language, "normalizer": "english"}
    notes = []
    call = {"corpora": CORPUS, "model": several_languages, "settings": settings}
    output, valid = tmp_path / "run", CORPUS.with_name("test-clean")
    finetune(valid=valid, output=output, note=notes.append, **call)
    assert f"{several_languages} starts as it is for the language " in "".join(notes)
    assert ("it has no adapter for xyz" in "".join(notes)) == (language == "xyz")
    start = read_model(several_languages, "tur" if language == "tur" else None).weights
    after = read_model(output / "best.safetensors").weights
    changed = {name for name in start if not torch.equal(start[name], after[name])}
    learning = {name for name in start if ".adapter." in name or name.startswith("output.")}
    assert changed <= learning and any("adapter.expand" in name for name in changed)
    bias = "wav2vec2.context_network.blocks.0.adapter.norm.bias"
    assert after[bias].mean() == pytest.approx(1 if language == "tur" else 0, abs=0.1)


def test_only_a_network_with_adapters_trains_adapters_only(tmp_path):
    settings = {"schedule.updates": 1, "batch_seconds": 20.0, "adapters_only": True}
    with pytest.raises(UserError, match="adapters_only trains the adapters .* has none"):
        valid = CORPUS.with_name("test-clean")
        finetune(CORPUS, output=tmp_path, model="tiny-config", valid=valid, settings=settings)


def test_an_alphabet_is_kept_only_once_the_run_has_begun(tmp_path):
    """A call that failed, or was stopped while it looked at the data, decides nothing."""
    corpus, other = tmp_path / "mine", tmp_path / "others"
    for folder, texts in ((corpus, ("Işık söndü.", "Çağrı İzmir'de.")), (other, ("Ağrı", "Üzüm"))):
        folder.mkdir()
        for text, sound in zip(texts, read_corpus(CORPUS), strict=False):
            (folder / f"{text[:3]}.txt").write_text(text)
            (folder / f"{text[:3]}.flac").symlink_to(sound.path)
    settings = {"schedule.updates": 1, "batch_seconds": 20.0, "precision": "fp32"}
    call = {"corpora": corpus, "output": tmp_path / "run", "model": "tiny-config"}
    with pytest.raises(UserError, match="No utterance of .*mine is left to train on"):
        finetune(valid=corpus, settings=settings, **call)
    (tmp_path / "run").mkdir(exist_ok=True)
    keep_vocabulary(vocabulary_of(finetuning_config("demo", {}), ["HELLO"]), tmp_path / "run")
    result = finetune(valid=other, settings=settings | {"language": "tr"}, **call)
    kept = vocabulary_of(finetuning_config("demo", {}), [], tmp_path / "run")
    assert kept.normalizer == Normalizer("basic", "lower", "tr") and "ı" in kept.letters
    assert result.checkpoint.is_file()


def test_a_run_counts_from_its_first_update(tmp_path, monkeypatch):
    """A call that failed before it leaves nothing that refuses the corrected call."""
    settings = {"schedule.updates": 1, "batch_seconds": 20.0, "precision": "fp32", "dropout": 0.5}
    call = {"corpora": CORPUS, "output": tmp_path, "model": "tiny-config"}
    call |= {"valid": CORPUS.with_name("test-clean")}
    with monkeypatch.context() as failing, pytest.raises(UserError, match="ran out"):
        failing.setattr(Finetuning, "loss", _no_memory)
        finetune(settings=settings, **call)
    finetune(settings=settings | {"dropout": 0.25, "alphabet": "english"}, **call)
    assert json.loads((tmp_path / "run.json").read_text())["dropout"] == 0.25
    assert vocabulary_of(finetuning_config("demo", {}), [], tmp_path).symbols == STANDARD
    with pytest.raises(UsageError, match="holds a run with other settings: dropout was 0.25"):
        finetune(settings=settings, **call)


def test_the_words_of_a_language_model_count_from_its_first_update(tmp_path):
    texts = {"wrong": "some other words", "right": "the cat sat on the mat", "valid": "the mat"}
    files = {name: tmp_path / f"{name}.txt" for name in texts}
    for name, path in files.items():
        path.write_text(f"{texts[name]}\n" * (400 if name == "right" else 100))
    call = {"valid": files["valid"], "output": tmp_path / "run", "recipe": "tiny"}
    call |= {"settings": {"schedule.updates": 1}, "reading": AS_IT_IS}
    with pytest.raises(UserError, match="blocks, but an update takes 32"):
        train_language_model([files["wrong"]], **call)
    train_language_model([files["right"]], **call)
    words = set((tmp_path / "run" / "words.txt").read_text().split("\n"))
    assert {"cat", "sat", "on", "mat"} <= words and "other" not in words


def _no_memory(*_):
    raise MemoryError("out of memory")


def test_wrong_calls_are_sentences(tmp_path):
    with pytest.raises(UsageError, match="Name the corpora"):
        pretrain(output=tmp_path)
    with pytest.raises(UsageError, match="there is no colour"):
        pretrain(CORPUS, output=tmp_path, settings={"colour": "red"})
    with pytest.raises(UsageError, match="--seeds must be at least 1, got 0"):
        finetune(CORPUS, output=tmp_path, seeds=0)
    for speed in (0, -3, float("nan")):
        with pytest.raises(UsageError, match="--speed must be above 0, got"):
            pretraining_dry_run(recipe="small", speed=speed)
    with pytest.raises(UsageError, match="time_probability lies between 0 and 1, got 1.5"):
        pretraining_dry_run(recipe="small", settings={"objective.mask.time_probability": 1.5})
    assert list(tmp_path.iterdir()) == []


def test_runs_with_nothing_to_train_or_validate_on_say_why(tmp_path):
    call = {"output": tmp_path, "model": "tiny-config"}
    with pytest.raises(UserError, match="left to train on: all are held out for validation"):
        finetune(CORPUS, valid=CORPUS, **call)
    with pytest.raises(UserError, match="left to train on: all are held out for validation"):
        finetuning_dry_run(CORPUS, valid=CORPUS, model="tiny-config")
    with pytest.raises(UserError, match="is held out to validate on, since there are so few"):
        finetune(_one_recording(tmp_path), **call)
    with pytest.raises(UserError, match="No recording is left to train on: all are in"):
        pretrain(CORPUS, valid=CORPUS, output=tmp_path, recipe="small", settings=SMALL)


def _one_recording(folder):
    """A corpus that is too small to be divided; its id is one of those trained on."""
    recording = next(CORPUS.rglob("*.flac"))
    (folder / "one").mkdir()
    row = {"audio": str(recording), "id": "LJ001-0001", "text": "ONE"}
    (folder / "one" / "one.jsonl").write_text(json.dumps(row) + "\n")
    return folder / "one" / "one.jsonl"


def test_pretraining_does_not_train_on_what_it_validates_on():
    both = [str(CORPUS), str(CORPUS.with_name("dev-other"))]
    train, held_out, left_out = unlabelled_recordings(both, None, both[1], None, 0.5)
    assert (len(train), len(held_out), left_out) == (14, 12, [])
    assert set(train.source.ids) & set(held_out.source.ids) == set()


def test_several_corpora_may_be_validated_on():
    both = f"{CORPUS}+{CORPUS.with_name('test-clean')}"
    train, valid = labelled_recordings([str(CORPUS)], None, both, None)
    parts = [
        labelled_recordings([str(CORPUS)], None, str(part), None)[1]
        for part in (CORPUS, CORPUS.with_name("test-clean"))
    ]
    assert list(train.ids) == [] and list(valid.ids) == [*parts[0].ids, *parts[1].ids]


def test_what_is_validated_on_is_not_trained_on():
    train, valid = labelled_recordings([f"{CORPUS}@3"], None, None, None)
    assert set(train.ids) & set(valid.ids) == set() and len(valid.ids) == len(set(valid.ids))
    train, valid = labelled_recordings([str(CORPUS)], None, str(CORPUS), None)
    assert list(train.ids) == [] and len(valid.ids) == 14
