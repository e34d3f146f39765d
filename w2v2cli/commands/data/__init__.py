"""`w2v2 data`: scan, divide, prepare, make and pack corpora."""

from __future__ import annotations

from w2v2cli.commands.calls.every import Commands
from w2v2cli.commands.data.prepare import prepare
from w2v2cli.commands.data.scan import scan
from w2v2cli.commands.data.shard import shard
from w2v2cli.commands.data.split import split
from w2v2cli.commands.data.synth import synth

app = Commands(
    help="Scan, divide, prepare, make and pack corpora.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
for command in (scan, split, prepare, synth, shard):
    app.command()(command)
