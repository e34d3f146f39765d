"""Who may import whom.

w2v2 -> w2v2cli.app -> commands -> training -> recognition -> data -> {lm, models} -> storage
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = [
    "w2v2cli.app",
    "w2v2cli.commands",
    "w2v2cli.training",
    "w2v2cli.recognition",
    "w2v2cli.data",
]
# Any level of the command line may use these.
FREE = {
    "w2v2cli",
    "w2v2cli.errors",
    "w2v2cli.console",
    "w2v2cli.help",
    "w2v2cli.own_packages",
    "w2v2cli.processes",
    "w2v2cli.progress",
    "w2v2cli.workers",
    "w2v2cli.__main__",
}
# Packages that a package may not import.
ABOVE = {
    "storage": ("lm", "models", "w2v2cli", "w2v2"),
    "lm": ("models", "w2v2cli", "w2v2"),
    "models": ("lm", "w2v2cli", "w2v2"),
    "w2v2cli": ("w2v2",),
}
HEAVY = {
    "torch",
    "torchaudio",
    "numpy",
    "soundfile",
    "jiwer",
    "safetensors",
    "kenlm",
    "flashlight",
    "transformers",
    "rich",
}
FILES = sorted(
    path
    for top in ("w2v2", "w2v2cli", "lm", "models", "storage")
    for path in (ROOT / top).rglob("*.py")
)


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, (
                f"{module(path)} line {node.lineno}: imports are written in full"
            )
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def level(name: str) -> int | None:
    for index, prefix in enumerate(LEVELS):
        if name == prefix or name.startswith(f"{prefix}."):
            return index
    return None


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_down(path):
    own = module(path)
    for name in imports(path):
        top = name.split(".")[0]
        floor = own.split(".")[0]
        if floor in ABOVE:
            assert top not in ABOVE[floor], f"{own} imports {name}"
        if top == "w2v2cli" and floor == "w2v2cli" and own not in FREE:
            here, there = level(own), level(name)
            assert there is None or here is None or there >= here, f"{own} imports {name}"


def test_every_module_of_the_command_line_has_a_level():
    modules = [module(path) for path in FILES if module(path).startswith("w2v2cli")]
    assert [name for name in modules if name not in FREE and level(name) is None] == []


def test_no_folder_of_tests_is_a_package():
    # With an __init__.py, tests/models would be imported in the place of models.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if module(p).startswith(("w2v2cli.app", "w2v2cli.commands"))],
    ids=module,
)
def test_commands_import_nothing_heavy_before_they_run(path):
    names = {name.split(".")[0] for name in imports(path, top_only=True)}
    assert not names & HEAVY
