"""docs/commands.md is written from the program."""

import pytest

from scripts.write_commands_page import PAGE, render, typer_minor


def test_the_page_of_commands_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    if f"(Typer {typer_minor()})" not in page:
        pytest.skip(f"the page was written with another Typer than {typer_minor()}")
    assert page == render(), "run: python -m scripts.write_commands_page"
