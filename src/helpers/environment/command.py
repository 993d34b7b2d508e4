"""The command line of `python -m helpers.environment`, on argparse, because Typer may be missing where it runs.

It reads arguments, prints, and returns an exit code; what it prints is worked out elsewhere.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence

from helpers.environment.report import preflight
from helpers.environment.screen import render


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program name; those of this process when left out. No subcommand means `preflight`.

    Returns
    -------
    int
        0 when the notebooks run here, 1 when something they need is missing, 2 for a usage error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv.insert(0, "preflight")
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help (0) or the fault (2)
        return int(stop.code or 0)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may not fit the terminal's encoding
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.environment",
        description="What this machine is, and what of the workbook runs on it. Without a command: preflight.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser("preflight", help="facts about this machine, and what will run here")
    check.add_argument("--json", action="store_true", help="print the same facts as one JSON object")
    check.set_defaults(run=_preflight)
    return parser


def _preflight(arguments: argparse.Namespace) -> int:
    report = preflight()
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(render(report, color=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return 0 if report.ready else 1
