"""What the pages name exists: links and anchors, commands and options, scripts."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from w2v2cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "w2v2cli" / "shipped" / "MODEL_CARD.md",
    ]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_LINE = re.compile(r"^    [^\n]*$|^```.*?^```$", re.M | re.S)
IN_LINE = re.compile(r"`(w2v2 [^`]+)`", re.S)
MODULE = re.compile(r"python -m ((?:benchmarks|scripts)\.[a-z_]+)")
WRITTEN_BY_A_SCRIPT = ROOT / "docs" / "commands.md"


def name(path):
    return str(path.relative_to(ROOT))


def anchors(page):
    """The anchors of a page's headings, as they are made by those who show Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def calls(text):
    """Every call of w2v2 in a page, as words: of code blocks, joined over `\\`, and `in line`."""
    code = "\n".join(CODE_LINE.findall(text)).replace("\\\n", " ")
    for line in [*code.splitlines(), *IN_LINE.findall(text)]:
        found = re.search(r"(?:^|[\s|+(])w2v2 ((?:[a-z]|--).*)", f" {line}".split(" #")[0])
        if found:
            yield shlex.split(found[1].split(" | ")[0])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}"


@pytest.mark.parametrize("page", [p for p in PAGES if p != WRITTEN_BY_A_SCRIPT], ids=name)
def test_commands_and_options_exist(page):
    for words in calls(page.read_text(encoding="utf-8")):
        command = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        if words and words[0].isupper():
            continue  # `w2v2 COMMAND --help`
        called = " ".join(words)
        known = {option for p in command.params for option in [*p.opts, *p.secondary_opts]}
        known |= {"--help", "-h", "--version"}
        if getattr(command, "commands", None) is not None:
            assert not words or words[0] in known, f"{name(page)}: there is no w2v2 {called}"
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{name(page)}: {sorted(given - known)} of w2v2 ... {called}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_scripts_exist(page):
    for module in MODULE.findall(page.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(module), f"{name(page)} names {module}"
