"""docs/troubleshooting.md quotes sentences that the program can say."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("w2v2", "w2v2cli", "lm", "models", "storage")
QUOTES = re.findall(r"^> (.+(?:\n> .+)*)", PAGE.read_text(encoding="utf-8"), re.M)


def text_of(node):
    """A string of the code as the page quotes it, with … for values; None for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    return None


@pytest.fixture(scope="module")
def sentences():
    files = [path for top in PACKAGES for path in (ROOT / top).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    return [text for node in nodes if (text := text_of(node))]


@pytest.mark.parametrize("quote", QUOTES)
def test_the_sentence_is_in_the_code(quote, sentences):
    # A value at either end of a quotation may be put there by another part of the program.
    words = " ".join(quote.replace("\n> ", " ").split()).strip("… ")
    words = re.sub(r"^(?:Note|Warning|Left out): ", "", words)
    assert any(words in sentence for sentence in sentences), quote


def test_the_page_quotes_many():
    assert len(QUOTES) > 30
