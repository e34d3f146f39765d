"""`w2v2 lm`: language models made from text, and what is in them."""

from __future__ import annotations

import inspect

from w2v2cli.commands.calls.every import Commands
from w2v2cli.commands.lm.build import build as _build
from w2v2cli.commands.lm.compile import compile_lm as _compile
from w2v2cli.commands.lm.fetch import fetch as _fetch
from w2v2cli.commands.lm.info import info as _info
from w2v2cli.commands.lm.mix import mix as _mix
from w2v2cli.commands.lm.prune import prune as _prune
from w2v2cli.commands.lm.score import score as _score
from w2v2cli.commands.lm.train import train as _train
from w2v2cli.commands.variadic import variadic
from w2v2cli.help import one_line_paragraphs

app = Commands(help="Build and train language models, and look into them.", no_args_is_help=True)
app.command("train")(_train)
for name, command, parser in (
    ("build", _build, variadic("--prune")),
    ("compile", _compile, None),
    ("fetch", _fetch, None),
    ("info", _info, None),
    ("mix", _mix, variadic("--weights")),
    ("prune", _prune, None),
    ("score", _score, None),
):
    page = one_line_paragraphs(inspect.getdoc(command) or "")
    app.command(name, cls=parser, help=page)(command)
