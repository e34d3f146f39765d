"""`--config FILE`: options of a command from a file."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from w2v2cli.errors import UsageError

RUN = {"kind", "parts"}  # keys of the run.json in the folder of a training run
NEVER = {"config", "help"}  # options that a file cannot set


def take_settings(context: typer.Context, path: Path | None) -> Path | None:
    """Make what a file holds the defaults of a call. Raises UsageError."""
    if path is not None and not context.resilient_parsing:
        values = _read(path)
        context.default_map = _by_parameter(values, context.command.params, path)
    return path


def _read(path: Path) -> Mapping[str, Any]:
    """The object that a file holds."""
    if path.suffix.lower() not in (".json", ".toml"):
        raise UsageError(f"--config {path} has no known ending: name a .json or a .toml.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = _toml(text, path) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        kind = path.suffix[1:].upper()
        raise UsageError(f"--config {path} is not {kind}: {error}.") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {path} holds no options: it should be {{NAME: VALUE, ...}}.")
    if values.keys() >= RUN:
        raise UsageError(
            f"--config {path} holds the settings of a training run, not options: the same call "
            "continues the run, and --set NAME=VALUE gives another run such a setting."
        )
    return values


def _toml(text: str, path: Path) -> Any:
    if sys.version_info < (3, 11):
        raise UsageError(f"--config {path} needs Python 3.11: write it as JSON.")
    import tomllib

    return tomllib.loads(text)


def _by_parameter(values: Mapping[str, Any], parameters: Any, path: Path) -> dict[str, Any]:
    """The values by the names that the parser knows, as texts, which it checks as it always does.

    Raises UsageError for a key that is no option, with the nearest one.
    """
    options = {
        name.removeprefix("--"): parameter
        for parameter in parameters
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name.startswith("--")
    }
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("_", "-").removeprefix("--")
        if name not in options or name in NEVER:
            near = difflib.get_close_matches(name, set(options) - NEVER, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"--config {path}: there is no option {key}.{hint}")
        parameter = options[name]
        if parameter.name in found:
            raise UsageError(f"--config {path} sets {name} twice.")
        if value is not None:
            found[parameter.name] = _value(parameter, value, f"--config {path}: {key}")
    return found


def _value(parameter: Any, value: Any, where: str) -> Any:
    """A value as the parser takes it from a command line. Raises UsageError."""
    if parameter.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where} takes true or false, got {value!r}.")
        return value
    if isinstance(value, dict | bool):
        raise UsageError(f"{where} takes a text or a number, got {value!r}.")
    several = parameter.multiple or parameter.nargs != 1
    if isinstance(value, list) and not several:
        raise UsageError(f"{where} takes one value, got {value!r}.")
    values = value if isinstance(value, list) else [value]
    return [str(each) for each in values] if several else str(value)
