"""The program as a shell runs it: exit codes, whole outputs, and which modules it imports."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from w2v2cli.app import app


def w2v2(*args: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "w2v2cli", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


WRONG = [
    ("transcribe --bem 5 a.wav", "No such option: --bem. Did you mean --beam?"),
    ("transcribe --modl demo a.wav", "No such option: --modl. Did you mean --model?"),
    ("lm score --lm a.arpa b.txt", "No such option: --lm."),
    ("transcribe a.wav --beam abc", "--beam takes a whole number, got 'abc'."),
    ("transcribe a.wav --lm-weight=abc", "--lm-weight takes a number, got 'abc'."),
    ("tune-lm --sil-score a 1", "--sil-score takes a number, got 'a'."),
    ("lm build a.txt -o b.arpa --prune x", "--prune takes a whole number, got 'x'."),
    ("data prepare", "Missing argument 'corpus'. Choose from: librispeech, librilight, timit."),
    ("finetune a -o b --log-every 0", "--log-every must be at least 1, got 0."),
    ("pretrain --dry-run --speed 0", "--speed must be above 0, got 0."),
    ("plot a -o b.txt", "Curves are drawn as .png, .svg or .html, got b.txt: change its suffix."),
    ("transcrib", "No such command 'transcrib'. Did you mean 'transcribe'?"),
    ("model lst", "No such command 'lst'. Did you mean 'list'?"),
    ("transcribe", "Missing argument"),
    ("transcribe a.wav --beam 0", "--beam must be at least 1, got 0."),
    ("transcribe a.wav --beam -3", "--beam must be at least 1, got -3."),
    ("transcribe a.wav --beam 2 --nbest 3", "--nbest 3 asks for more than --beam 2 keeps."),
    ("transcribe a.wav --beam-threshold 0", "--beam-threshold must be above 0, got 0."),
    (
        "transcribe a.wav --beam-tokens 0",
        "--beam-tokens must be at least 1, got 0.",
    ),
    (
        "transcribe a.wav --format doc",
        "--format takes txt, json, jsonl, srt, vtt, tsv, html, manifest or lattice, got 'doc'.",
    ),
    ("transcribe a.wav --format srt,jsn", "--format takes txt, json, jsonl, srt, vtt, tsv, "),
    ("transcribe a.wav --format srt,json", "--format srt,json makes 2 files of a recording: name"),
    ("transcribe a.wav --channel 0", "--channel takes a number from 1 on, or split; got '0'."),
    ("transcribe - --channel split", "--channel split reads a recording several times"),
    ("transcribe - --format manifest", "--format manifest names files, and stdin has no name."),
    ("transcribe . --watch", "--watch writes into --output-dir: name one."),
    ("transcribe a.wav --watch --output-dir b", "--watch takes folders, and a.wav is none."),
    ("transcribe . --watch --stream --output-dir b", "--watch writes files as recordings come: "),
    ("transcribe a.wav --min-confidence 2", "--min-confidence must be within 0 and 1, got 2."),
    ("transcribe a.wav --max-lines 0", "--max-lines must be at least 1, got 0."),
    ("transcribe a.wav --timestamps hour", "--timestamps takes segment or word, got 'hour'."),
    (
        "transcribe a.wav --skip-existing",
        "--skip-existing looks for files in --output-dir: name one.",
    ),
    ("transcribe a.wav --search greedy --lm 4gram", "--search greedy uses no language model"),
    (
        "transcribe a.wav --search fast",
        "--search takes auto, greedy, compiled, flashlight or batched, got",
    ),
    (
        "transcribe a.wav --search compild",
        "--search takes auto, greedy, compiled, flashlight or batched, got 'compild'. Did"
        " you mean compiled?",
    ),
    (
        "transcribe a.wav --precision fp61",
        "--precision takes auto, fp32, bf16 or fp16, got 'fp61'.",
    ),
    ("eval --split dev-clean --beam 0", "--beam must be at least 1, got 0."),
    ("transcribe a.wav --model base-960", "There is no model 'base-960'; did you mean base-960h"),
    ("transcribe a.wav --model no/such.pt", "There is no model at no/such.pt."),
    (
        "transcribe a.wav --lm 4-gram",
        "There is no language model '4-gram'; did you mean 4gram or demo-4gram?",
    ),
    ("transcribe a.wav --lm no/such.arpa", "There is no language model at no/such.arpa."),
    ("transcribe a.wav --lexicon no.txt", "There is no lexicon at no.txt."),
    ("transcribe a.wav --workers -1", "--workers cannot be negative, got -1."),
    ("eval --split all --seed -1", "--seed must be at least 0, got -1."),
    ("eval --data x --trials 3", "--trials goes with --protocol paper"),
    ("eval --data x --output tests", "--output tests is a folder: name a file."),
    ("transcribe a.wav --output-dir README.md", "--output-dir README.md is a file: name a folder."),
    ("transcribe a.wav --lm 4gram --lexicon tests", "tests is a folder: --lexicon takes a file."),
    ("eval", "Name a --split of LibriSpeech, or a corpus by --data."),
    (
        "eval --split test",
        "--split takes dev-clean, dev-other, test-clean, test-other or all, got 'test'.",
    ),
    ("lm build a.txt -o a.arpa --order 0", "--order must be at least 1, got 0."),
    ("model convert demo a.bin", "a.bin should end in .safetensors."),
    ("model average demo demo -o a.bin", "a.bin should end in .safetensors."),
    (
        "model average demo -o a.safetensors",
        "Name two models or more: the mean of one is that one.",
    ),
    (
        "model convert demo a --to hugginface",
        "--to takes w2v2 or huggingface, got 'hugginface'. Did you mean huggingface?",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[call for call, _ in WRONG])
def test_a_wrong_call_is_one_sentence_and_exit_code_2(call, message):
    result = w2v2(*call.split())
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert result.returncode == 2


@pytest.mark.parametrize(
    "args", [["--help"], ["transcribe", "--help"], ["transcribe", "--bem"], ["--version"]]
)
def test_help_and_mistakes_are_answered_without_importing_anything_heavy(args):
    script = f"import sys; sys.argv = ['w2v2', *{args!r}]\nfrom w2v2cli.app import main\n"
    script += "try: main()\nexcept SystemExit: pass\n"
    script += "heavy = {'torch', 'numpy', 'soundfile', 'kenlm', 'flashlight', 'jiwer'}\n"
    script += "print(sorted(heavy & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.endswith("[]\n")


@pytest.mark.parametrize("written", [["--beam", "x"], ["--beam=x"]])
def test_a_value_of_the_wrong_kind_is_named(written):
    result = w2v2("transcribe", "a.wav", *written)
    assert "--beam" in result.stderr and "'x'" in result.stderr
    assert result.stderr.count("\n") == 1 and result.returncode == 2


def test_the_version_is_that_of_the_package():
    assert w2v2("--version").stdout == f"w2v2 {version('w2v2')}\n"


def test_a_folder_named_models_beside_the_user_is_not_imported(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise RuntimeError('the wrong models')")
    command = [sys.executable, "-P", "-m", "w2v2cli", "model", "info", "demo", "--json"]
    if sys.version_info < (3, 11):  # -P is of 3.11; the console script is as safe
        command = [str(Path(sys.executable).with_name("w2v2")), *command[4:]]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert result.returncode == 0, result.stderr


COMPLETED = [
    ("trans", "transcribe"),
    ("transcribe --beam-t", "--beam-threshold"),
    ("lm bu", "build"),
]


@pytest.mark.parametrize(("words", "found"), COMPLETED)
def test_a_shell_completes_commands_and_options(words, found):
    line = ["w2v2", *words.split()]
    asked = {
        "_W2V2_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    program = Path(sys.executable).with_name("w2v2")
    result = subprocess.run(
        [program], capture_output=True, text=True, env=os.environ | asked, timeout=60
    )
    assert found in result.stdout.split()
    assert result.stderr == ""


def test_the_completion_script_is_for_this_program():
    shown = f"{sys.executable} -m w2v2cli --show-completion; true"  # for the shell that calls it
    result = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, timeout=120)
    assert "_W2V2_COMPLETE=complete_bash" in result.stdout


def test_a_users_own_package_of_the_name_models_is_not_taken_for_ours(tmp_path):
    """Where Python looks into the current folder first; search processes are told as well."""
    for name in ("models", "lm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('raise RuntimeError("not ours")')
    root = Path(__file__).parents[2]
    clip = root / "w2v2cli" / "shipped" / "recordings" / "LJ002-0050.flac"
    path = os.pathsep.join([".", str(root)])
    result = w2v2(
        *("transcribe", "-q", str(clip), "--lm", "4gram", "--beam", "20"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (result.returncode, result.stderr) == (0, "") and len(result.stdout) > 20


SHARED = {"quiet", "verbose", "config"}  # tests/w2v2cli/commands/calls
OPTIONS = {
    "transcribe": "model language lm lexicon format output-dir output timestamps skip-existing "
    "names channel min-confidence max-line-length max-lines max-duration live watch stream "
    "latency pcm "
    "search beam beam-threshold beam-tokens recombine lm-context skip-blank lattice-beam "
    "posterior-scale mbr mbr-scale lm-weight word-score unk-score sil-score hotwords "
    "hotwords-floor rescore rescore-over "
    "rescore-nbest rescore-lm-weight rescore-word-score rescore-first-weight nbest device "
    "precision batch-seconds workers lm-precision lm-cache-gb",
    "align": "format output unit max-line-length max-lines max-duration model language device "
    "precision batch-seconds",
    "eval": "split data model language lm lexicon json output skip-existing normalizer worst "
    "seed report report-audio compare protocol trials search beam beam-threshold beam-tokens "
    "recombine lm-context skip-blank lattice-beam mbr mbr-scale lm-weight word-score unk-score "
    "sil-score hotwords hotwords-floor rescore rescore-over rescore-nbest rescore-lm-weight "
    "rescore-word-score "
    "rescore-first-weight device precision batch-seconds workers lm-precision "
    "lm-cache-gb",
    "tune-lm": (
        "trials split data model language lm lexicon metric exact seed study json forget "
        "lm-weight word-score "
        "sil-score search beam beam-threshold beam-tokens recombine lm-context skip-blank rescore "
        "rescore-nbest rescore-first-weight device precision batch-seconds workers "
        "lm-precision lm-cache-gb"
    ),
    "pretrain": "output recipe recipes valid model shards data updates peak-lr seed set "
    "batch-seconds "
    "total-batch-hours accumulate loader-workers precision device compile recompute "
    "log-every tensorboard dry-run speed patience resume wandb",
    "finetune": "output model recipe recipes valid lm lexicon seeds peak-lr shards data updates "
    "seed set batch-seconds total-batch-hours accumulate loader-workers precision device compile "
    "recompute log-every tensorboard dry-run speed alphabet normalizer case language "
    "patience resume wandb",
    "plot": "output",
    "lm train": "output valid recipe normalize normalizer case language sentences updates peak-lr "
    "seed set batch-words accumulate precision device compile log-every tensorboard "
    "patience resume wandb",
    "doctor": "json",
    "cache list": "",
    "cache clear": "dry-run",
    "model list": "",
    "model info": "json language",
    "model convert": "to half language lm lexicon",
    "model average": "output half",
    "model verify": "",
    "lm build": "output order prune lexicon limit-vocab memory tmp normalize normalizer case "
    "language sentences",
    "inspect": "output model language text start seconds device precision",
    "features": "output-dir output model language layer mean format skip-existing device precision",
    "fetch": "language",
    "score": "normalizer json worst seed",
    "lm fetch": "",
    "lm compile": "lexicon model",
    "lm mix": "on weights output normalize normalizer case language sentences",
    "lm prune": "entropy output",
    "data split": "output jobs seed",
    "data shard": "data output jobs seed shard-hours shard-mb",
    "lm info": "",
    "data scan": "output jobs hash decode audio-column text-column",
    "data prepare": "output split jobs hash",
    "data synth": "output voices utterances voice kokoro seed jobs",
    "lm score": "normalize normalizer case language sentences upper device",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_the_options_of_a_command_are_a_promise(command):
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]
    names = {
        opt.removeprefix("--")
        for param in found.params
        for opt in param.opts
        if opt.startswith("--")
    }
    assert names - SHARED == set(OPTIONS[command].split())
