"""Print how large the files and functions of the product are.

    python -m scripts.code_sizes [PACKAGE ...]

A function's lines are all from its first decorator to its end, those of functions inside it
included; a file's are all its lines. `tests/test_house.py` holds the same figures to limits.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("w2v2", "w2v2cli", "lm", "models", "storage")


def source_files(tops: Sequence[str], suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    """Return the files with one of these suffixes in folders of the repository, sorted."""
    found = [path for top in tops for path in (ROOT / top).rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if path.is_file())


def function_lines(source: str) -> Iterator[tuple[str, int]]:
    """Yield the full name and the lines of each function, method and inner function."""

    def visit(node: ast.AST, outer: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            inner = outer
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{outer}.{child.name}" if outer else child.name
                if not isinstance(child, ast.ClassDef):
                    first = min([child.lineno, *(line.lineno for line in child.decorator_list)])
                    yield inner, (child.end_lineno or first) - first + 1
            yield from visit(child, inner)

    yield from visit(ast.parse(source), "")


def described(package: str, paths: Sequence[Path]) -> str:
    """Return a package's row of the table: sizes of its files and functions, in lines."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    files = [len(text.splitlines()) for text in texts]
    functions = [lines for text in texts for _, lines in function_lines(text)] or [0]
    return (
        f"| {package} | {len(files)} / {sum(files)} | {median(files):.0f} / {max(files)} | "
        f"{len(functions)} | {median(functions):.0f} / {max(functions)} |"
    )


def main(packages: Sequence[str]) -> None:
    """Print a row for each package and one for all of them."""
    print("| package | files / lines | median / longest file | functions | median / longest |")
    print("|---|---|---|---|---|")
    for package in packages:
        print(described(package, source_files([package])))
    print(described("all", source_files(packages)))


if __name__ == "__main__":
    main(sys.argv[1:] or PRODUCT)
