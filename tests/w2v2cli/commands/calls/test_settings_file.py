"""`--config FILE`: options from a file, the command line before them."""

import json
import sys
from pathlib import Path

import pytest
from calls import called
from typer.testing import CliRunner

from w2v2cli.commands.calls.every import Commands

program = Commands()


@program.command()
def work(
    recording: str,
    beam: int = 5,
    lm_weight: float = 0.5,
    word: list[str] | None = None,
    hash: bool = True,
    loud: bool = False,
    output: Path | None = None,
) -> None:
    print(json.dumps([recording, beam, lm_weight, word, hash, loud, str(output)]))


@program.command()
def other() -> None:
    """Two commands make an app whose commands are called by name."""


def run(*args):
    return CliRunner().invoke(program, ["work", *map(str, args)])


def written(folder, content, name="run.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_sets_options_by_their_names_and_the_command_line_wins(tmp_path):
    config = written(
        tmp_path,
        {"beam": 9, "lm-weight": 2, "word": ["a", "b"], "hash": False, "loud": True, "output": "x"},
    )
    everything = ["r.wav", 9, 2.0, ["a", "b"], False, True, "x"]
    assert json.loads(run("r.wav", "--config", config).stdout) == everything
    other = run("--config", config, "--beam", 3, "--word", "c", "--hash", "--no-loud", "r.wav")
    assert json.loads(other.stdout) == ["r.wav", 3, 2.0, ["c"], True, False, "x"]


def test_underscores_and_nothing_are_taken_too(tmp_path):
    config = written(tmp_path, {"lm_weight": 1.5, "beam": None, "word": "a"})
    assert json.loads(run("r.wav", "--config", config).stdout)[:4] == ["r.wav", 5, 1.5, ["a"]]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brought tomllib")
def test_toml_is_read_as_well(tmp_path):
    config = written(tmp_path, 'beam = 7\nword = ["a"]\n', "run.toml")
    assert json.loads(run("r.wav", "--config", config).stdout)[1:4] == [7, 0.5, ["a"]]


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ({"beem": 3}, ": there is no option beem. Did you mean beam?"),
        ({"recording": "x"}, ": there is no option recording."),
        ({"config": "x"}, ": there is no option config."),
        ({"lm-weight": 1, "lm_weight": 2}, " sets lm-weight twice."),
        ({"loud": "yes"}, ": loud takes true or false, got 'yes'."),
        ({"beam": True}, ": beam takes a text or a number, got True."),
        ({"beam": [1, 2]}, ": beam takes one value, got [1, 2]."),
        ("[1, 2]", " holds no options: it should be {NAME: VALUE, ...}."),
        ("{", " is not JSON: "),
        ({"kind": "FinetuneConfig", "parts": {}}, " holds the settings of a training run, not "),
    ],
)
def test_what_is_wrong_in_a_file_is_a_sentence(tmp_path, content, refusal):
    config = written(tmp_path, content)
    done = called("transcribe", "none.wav", "--config", config)
    if isinstance(content, dict) and not {"kind", "config"} & content.keys():
        done = run("r.wav", "--config", config)
        assert refusal in str(done.exception) and done.exit_code
        return
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"Error: --config {config}{refusal}")


def test_values_are_checked_as_those_of_the_command_line(tmp_path):
    assert run("r.wav", "--config", written(tmp_path, {"beam": 3.5})).exit_code == 2
    done = called("transcribe", "none.wav", "--config", written(tmp_path, {"format": "str"}))
    assert (done.returncode, done.stdout) == (2, "")
    assert "got 'str'. Did you mean srt?" in done.stderr


@pytest.mark.parametrize("name", ["none.json", "file.yaml"])
def test_files_that_are_not_there_or_of_another_kind(tmp_path, name):
    path = tmp_path / name
    done = called("data", "scan", "corpus", "-o", "m.jsonl", "--config", path)
    why = "cannot be read: No such" if name == "none.json" else "has no known ending: name a .json"
    assert done.returncode == 2 and done.stderr.startswith(f"Error: --config {path} {why}")


def test_a_required_option_may_stand_in_the_file(tmp_path):
    config = written(tmp_path, {"output": str(tmp_path / "m.txt")})
    done = called("data", "scan", tmp_path, "--config", config)
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {tmp_path / 'm.txt'} should end in .jsonl, or in .tsv for fairseq.\n"
    )
