"""`w2v2 lm`: language models made from text, and what is in them."""

from __future__ import annotations

import typer

from w2v2cli.commands.lm.build import build as _build
from w2v2cli.commands.lm.info import info as _info
from w2v2cli.commands.lm.score import score as _score
from w2v2cli.commands.lm.train import train as _train
from w2v2cli.commands.variadic import variadic

app = typer.Typer(help="Build and train language models, and look into them.", no_args_is_help=True)
app.command("build", cls=variadic("--prune"))(_build)
app.command("train")(_train)
app.command("info")(_info)
app.command("score")(_score)
