"""Options of a command from a dataclass whose fields carry type, choices, help and default."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from w2v2cli.errors import exits
from w2v2cli.help import Help, one_line_paragraphs

SettingsT = TypeVar("SettingsT")

Data = Annotated[
    Path | None,
    typer.Option(
        help="With --split: the folder LibriSpeech was unpacked in. Without: your corpus, a "
        "folder or list in LibriSpeech's layout, Common Voice's, LJSpeech's, Kaldi's, NeMo's or "
        "another of docs/data.md."
    ),
]


def takes(
    settings: type[SettingsT],
    *,
    without: Collection[str] = (),
    help: Mapping[str, str] | None = None,
    **defaults: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of `settings`; its first argument is the settings.

        @takes(DecodingOptions, without=["nbest"], lm="4gram")
        def evaluate(options: DecodingOptions, split: ...) -> None: ...

    Two decorators, the inner one for the first argument, give a command two kinds of settings.
    The command runs inside `exits`, so what it or the settings refuse is one sentence on stderr.

    without: fields that the command does not offer; they keep their defaults.
    help: texts in place of the fields' own, where a default differs.
    defaults: defaults of this command in place of the fields' own.
    """
    offered = [field for field in fields(settings) if field.name not in without]  # type: ignore[arg-type]
    hints = get_type_hints(settings, include_extras=True)
    texts = help or {}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        first, *own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(hints[field.name], defaults.get(field.name, field.default)),
                annotation=_option(hints[field.name], texts.get(field.name)),
            )
            for field in offered
        ]

        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            values = {
                field.name: _value(hints[field.name], given.pop(field.name)) for field in offered
            }
            with exits():
                command(**{first.name: settings(**(defaults | values))}, **given)

        keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        signature = inspect.Signature([*keyword, *parameters])
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        wrapper.__doc__ = one_line_paragraphs(inspect.cleandoc(command.__doc__ or ""))
        del wrapper.__wrapped__  # its signature is another
        return wrapper

    return decorate


def _default(hint: Any, value: Any) -> Any:
    """A field's default as Typer takes it."""
    return [value] if get_args(hint)[1].repeated and value is not None else value


def _value(hint: Any, given: Any) -> Any:
    """What Typer read, as the field has it: several values as a tuple, one as it is."""
    if not get_args(hint)[1].repeated:
        return given
    values = tuple(given or ())
    return values if len(values) > 1 else next(iter(values), None)


def _option(hint: Any, text: str | None) -> Any:
    """A field's annotation as Typer takes it."""
    kind, about = get_args(hint)
    assert isinstance(about, Help)
    if about.repeated is not None:
        kind = list[about.repeated]  # type: ignore[name-defined]
    names = [] if about.flag is None else [about.flag]
    option = typer.Option(
        *names, help=text or about.text, rich_help_panel=about.panel, metavar=about.metavar
    )
    return Annotated[kind, option]
