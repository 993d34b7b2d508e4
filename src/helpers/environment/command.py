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
from pathlib import Path

from helpers.environment.answer import render_explanation
from helpers.environment.diagnosis import explain
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
        0 when the notebooks run here, or the log is explained; 1 when something they need is missing, or the log is
        unknown; 2 for a usage error.
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
    why = commands.add_parser(
        "explain",
        help="why an install, an import or a run failed: paste its log",
        description="Why an install, an import or a run of mamba-ssm or causal-conv1d failed, from its log.",
        epilog="Exit code 0: explained. 1: nothing known was found. 2: the log could not be read.",
    )
    why.add_argument("file", nargs="?", default="-", metavar="FILE", help="a log; - or nothing: standard input")
    why.add_argument("--json", action="store_true", help='print {"causes": [...]}, best first, empty when unknown')
    why.set_defaults(run=_explain)
    return parser


def _preflight(arguments: argparse.Namespace) -> int:
    report = preflight()
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(render(report, color=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return 0 if report.ready else 1


def _explain(arguments: argparse.Namespace) -> int:
    try:
        if arguments.file == "-":
            if sys.stdin.isatty():
                print("Paste the log, then press Ctrl-D on a line of its own.", file=sys.stderr)
            log = getattr(sys.stdin, "buffer", sys.stdin).read()
        else:
            log = Path(arguments.file).read_bytes()
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        print(f"error: {arguments.file}: cannot be read ({reason}). Give a log file, or - for input.", file=sys.stderr)
        return 2
    explanation = explain(log)
    if arguments.json:
        print(json.dumps(explanation.to_dict(), indent=2))
    else:
        print(render_explanation(explanation))
    return 0 if explanation.known else 1
