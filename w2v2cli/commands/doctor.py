"""`w2v2 doctor`: what this machine has, what is missing, and the command that helps."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from w2v2cli.errors import exits


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list instead of lines.")
    ] = False,
) -> None:
    """Check this installation: packages, devices, shipped files, disk.

    Prints one line for each check, with what to do where it failed. Exit code 1 when something
    needed is missing.
    """
    with exits():
        from w2v2cli.data.installation import installation_findings

        findings = installation_findings()
        if as_json:
            typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                mark = "ok " if finding.fine else "NO "
                mend = f"  ->  {finding.mend}" if finding.mend else ""
                typer.echo(f"{mark} {finding.what + ':':<18} {finding.found}{mend}")
        if not all(finding.fine for finding in findings):
            raise SystemExit(1)
