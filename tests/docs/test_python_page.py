"""docs/python.md does what it says: its blocks run, in their order, as one script."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.write_python_page import PAGE, page

SHIPPED = PAGE.parents[1] / "w2v2cli" / "shipped"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))


def few_of(split: str, count: int, folder: Path) -> None:
    """A corpus of the first utterances of a shipped split."""
    folder.mkdir()
    lines = min((SHIPPED / "corpus" / split).rglob("*.trans.txt"))
    kept = lines.read_text().splitlines()[:count]
    (folder / lines.name).write_text("\n".join(kept) + "\n")
    for line in kept:
        shutil.copy(lines.with_name(f"{line.split()[0]}.flac"), folder)


def test_the_list_of_options_is_up_to_date():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run python -m scripts.write_python_page"


def test_every_block_runs_in_a_script_without_a_guard(tmp_path):
    shutil.copy(CLIPS[0], tmp_path / "talk.flac")
    shutil.copy(CLIPS[1], tmp_path / "second.flac")
    few_of("dev-clean", 4, tmp_path / "corpus")
    few_of("test-clean", 2, tmp_path / "held-out")
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    said = lines[0]
    assert len(said.split()) > 5 and said.isupper()
    assert "missing.flac is left out: missing.flac cannot be opened" in done.stdout
    assert any(line.startswith("WER ") and "CER" in line for line in lines)
    assert re.search(r"^runs/finetuned\S*best\.safetensors True$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^torch\.Size\(\[1, \d+, \d+\]\) tensor\(\[\d+\]\)$", done.stdout, re.MULTILINE
    )
