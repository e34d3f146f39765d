"""The doctor on this machine, and on one that lacks things."""

import json
import re
import subprocess
import sys
from importlib.metadata import requires, version

import pytest

from w2v2cli.data import installation
from w2v2cli.data import locations as store

NO_TORCH = """
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)

sys.meta_path.insert(0, Gone())
"""


def findings(*, script: str = "") -> tuple[int, dict[str, dict]]:
    program = f"import sys\n{script}\nsys.argv = ['w2v2', 'doctor', '--json']\n"
    program += "from w2v2cli.app import main\nmain()"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert result.stderr == ""
    return result.returncode, {finding["what"]: finding for finding in json.loads(result.stdout)}


def test_this_machine_has_what_is_needed():
    code, found = findings()
    assert code == 0
    assert found["torch"]["found"] == version("torch")
    assert {"cpu", "audio formats", "shipped files", "W2V2_HOME", "kenlm"} <= set(found)
    assert not any(finding["mend"] for name, finding in found.items() if name != "W2V2_HOME")


def test_without_torch_the_rest_is_still_looked_at():
    code, found = findings(script=NO_TORCH)
    assert code == 1
    assert not found["torch"]["fine"]
    [torch] = [spec for spec in requires("w2v2") if re.match(r"torch\b", spec)]
    assert found["torch"]["mend"].endswith(f"'{torch}'")
    assert found["shipped files"]["fine"] and "cpu" not in found


def test_a_package_that_is_not_installed_is_missing():
    found = installation._package("no-such-package", "no-such-package>=1")
    assert (found.found, found.fine) == ("missing", False)
    assert found.mend == f"{sys.executable} -m pip install --force-reinstall 'no-such-package>=1'"


def test_a_shipped_file_that_is_gone_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "DEMO_LM", tmp_path / "gone.arpa.gz")
    found = next(finding for finding in installation._files() if finding.what == "shipped files")
    assert found.found == "missing: gone.arpa.gz"
    assert not found.fine and "checkout" in found.mend


@pytest.mark.parametrize("folder", ["here", "not/yet/made"])
def test_the_home_need_not_exist(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / folder))
    found = next(finding for finding in installation._files() if finding.what == "W2V2_HOME")
    assert found.found.startswith(str(tmp_path / folder)) and found.found.endswith("GB free")
