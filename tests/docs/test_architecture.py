"""docs/architecture.md names every file of the product, and no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MAP = PAGE.split("\n## The map\n")[1].split("\n## ")[0]
ROOMS = {
    section.partition("/\n")[0]: re.findall(r"^- `([^`]+)`: .", section, re.M)
    for section in MAP.split("\n### ")[1:]
}
FOLDERS = sorted(
    {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("w2v2", "w2v2cli", "lm", "models", "storage")
        for path in (ROOT / top).rglob("*.py")
    }
)


def test_every_folder_has_its_section():
    assert sorted(ROOMS) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_has_its_clause(folder):
    files = [
        path.name for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".cpp", ".h")
    ]
    assert sorted(ROOMS[folder]) == sorted(set(files) - {"__init__.py"})


def test_paths_in_the_text_exist():
    named = re.findall(r"`([\w./]+/(?:[\w.]+)?)`", PAGE)
    assert len(named) > 30
    places = [ROOT, ROOT / "w2v2cli", ROOT / "w2v2cli" / "recognition", ROOT / "models"]
    missing = [path for path in named if not any((place / path).exists() for place in places)]
    assert missing == []
