"""`w2v2 model`: list, inspect, convert, average and verify acoustic models."""

from __future__ import annotations

from w2v2cli.commands.calls.every import Commands
from w2v2cli.commands.model.average import average
from w2v2cli.commands.model.convert import convert
from w2v2cli.commands.model.info import info
from w2v2cli.commands.model.list import names
from w2v2cli.commands.model.verify import verify

app = Commands(
    help="List, inspect, convert, average and verify acoustic models.", no_args_is_help=True
)
app.command("list")(names)
for command in (info, convert, average, verify):
    app.command()(command)
