"""The sizes that the code keeps to, and that no modules import each other in a circle.

Who may import whom is the subject of test_import_direction.py.
"""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from scripts.code_sizes import PRODUCT, ROOT, function_lines, source_files

LONGEST_FUNCTION = 60  # lines, decorators included
WIDEST_LINE = 100  # columns
FULLEST_FOLDER = 14  # modules; __init__.py and __main__.py hold almost nothing


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def long_functions(source: str) -> list[str]:
    """Names of the functions, methods and inner functions of more lines than are allowed."""
    return [name for name, lines in function_lines(source) if lines > LONGEST_FUNCTION]


def wide_lines(text: str, markdown: bool) -> list[int]:
    """Numbers of the lines that are too wide.

    A row of a Markdown table cannot be broken, nor can a web address at the end of a line. A
    comment to a type checker or a linter does not count. Ruff has the same exceptions.
    """
    lines = [re.sub(r"https?://\S+$|  # (type:|noqa).*$", "", line) for line in text.split("\n")]
    return [
        number
        for number, line in enumerate(lines, 1)
        if len(line) > WIDEST_LINE and not (markdown and line.startswith("|"))
    ]


def imported(path: Path, modules: set[str]) -> set[str]:
    """The modules, of `modules`, that a file imports when it runs, wherever in it."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inside & modules)
            if inside - modules:
                found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found & modules


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that reach each other (Tarjan's strongly connected components)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        numbers[node] = lowest[node] = len(numbers)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in numbers:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == numbers[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in graph.get(node, ()):
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in numbers:
            visit(node)
    return found


def test_functions_are_short():
    found = [
        f"{name_of(path)}:{function}"
        for path in source_files([*PRODUCT, "benchmarks", "scripts"])
        for function in long_functions(path.read_text())
    ]
    assert not found, f"more than {LONGEST_FUNCTION} lines"


def test_lines_are_narrow():
    suffixes = (".py", ".md", ".toml")
    paths = source_files([*PRODUCT, "tests", "benchmarks", "scripts", "docs"], suffixes)
    paths += [path for path in ROOT.iterdir() if path.suffix in suffixes]
    found = [
        f"{name_of(path)}:{number}"
        for path in paths
        for number in wide_lines(path.read_text("utf-8"), path.suffix == ".md")
    ]
    assert not found, f"more than {WIDEST_LINE} columns"


def test_folders_are_rooms():
    counts = Counter(
        path.parent
        for path in source_files([*PRODUCT, "tests", "benchmarks"])
        if path.stem[:2] != "__"
    )
    found = [name_of(folder) for folder, count in counts.items() if count > FULLEST_FOLDER]
    assert not found, f"more than {FULLEST_FOLDER} modules"


def test_no_modules_import_each_other_in_a_circle():
    paths = source_files([*PRODUCT])
    names = {p: name_of(p).removesuffix(".py").replace("/", ".") for p in paths}
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    modules = set(names.values())
    found = circles({name: imported(path, modules) for path, name in names.items()})
    assert not found


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"a", "b"}, "b": set()}, [["a"]]),
        ({"a": {"b", "c"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, [["c", "d"], ["a", "b"]]),
    ],
)
def test_circles_are_seen(graph, expected):
    assert circles(graph) == expected


def test_lazy_imports_are_seen_and_imports_for_types_are_not(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import typing\nfrom lm import other\nif typing.TYPE_CHECKING:\n    import lm.types\n"
        "def f():\n    from lm.lazy import name\n    import lm.inner as inner\n"
    )
    modules = {"lm", "lm.other", "lm.types", "lm.lazy", "lm.inner"}
    assert imported(path, modules) == {"lm.other", "lm.lazy", "lm.inner"}


def test_long_functions_and_wide_lines_are_seen():
    body = "        x = 1\n" * (LONGEST_FUNCTION - 1)
    source = f"class A:\n    def fits(self):\n{body}    def not_quite(self):\n{body}        x = 1\n"
    assert long_functions(source) == ["A.not_quite"]
    assert wide_lines("x" * 100 + "\n" + "x" * 101 + "\n|" + "x" * 101, markdown=True) == [2]
    assert wide_lines("|" + "x" * 101, markdown=False) == [1]
