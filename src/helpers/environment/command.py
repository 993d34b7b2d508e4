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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program name; those of this process when left out. No subcommand means `preflight`.

    Returns
    -------
    int
        0 when the notebooks run here, the log is explained, or nothing is broken; 1 when something they need is
        missing, the log is unknown, or something is broken; 2 for a usage error.
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
    doctor = commands.add_parser(
        "doctor",
        help="examine torch, mamba-ssm and causal-conv1d: the first broken layer, and the fix here",
        description="Examine torch, mamba-ssm and causal-conv1d: the first broken layer, and the fix for this machine.",
        epilog="Exit code 0: nothing is broken. 1: something is. 2: what should be examined is not there.",
    )
    doctor.add_argument("--python", metavar="PATH", help="examine another interpreter, or a virtual environment")
    doctor.add_argument("--no-import", action="store_true", help="read files only, under 2 s; try no import")
    doctor.add_argument("--json", action="store_true", help="print the same, with every fault in full, as one object")
    doctor.set_defaults(run=_doctor)
    install = commands.add_parser(
        "plan",
        help="what to install for a torch, CUDA, Python, platform and GPU, and what pip would do",
        description="What to install of mamba-ssm and causal-conv1d, for this machine or for what is given.",
        epilog="Exit code 0: there is a way, doing nothing included. 1: there is none. 2: something is not known.",
    )
    install.add_argument("--torch", metavar="2.5.1+cu124", help="the one installed here when left out")
    install.add_argument("--cuda", metavar="12.4", help="of torch; its version may tell it already")
    install.add_argument("--abi", metavar="TRUE|FALSE", help="what torch._C._GLIBCXX_USE_CXX11_ABI says")
    install.add_argument("--python", metavar="3.11")
    install.add_argument("--platform", metavar="linux_x86_64", help="or linux_aarch64, win_amd64, macosx_14_0_arm64")
    install.add_argument("--gpu", metavar="9.0", help="compute capability, or none")
    install.add_argument("--mamba", metavar="2.2.4", help="keep to this release")
    install.add_argument("--causal-conv1d", metavar="1.5.0.post8", help="keep to this release")
    install.add_argument("--commands", action="store_true", help="print the commands alone")
    install.add_argument("--json", action="store_true", help="print all pairs and commands as one object")
    install.set_defaults(run=_plan)
    patch = commands.add_parser(
        "patch",
        help="mamba-ssm 2.2.2 or 2.2.4 beside a causal-conv1d that takes more arguments: the cure, or the patch",
        description="Whether mamba-ssm and causal-conv1d fit each other, on a Jetson or elsewhere; which release to "
        "take if not, and a patch for mamba-ssm 2.2.2 and 2.2.4.",
        epilog="Exit code 0: nothing is broken, or it is done. 1: something is, or it was refused. 2: not there.",
    )
    patch.add_argument("what", choices=["jetson"])
    action = patch.add_mutually_exclusive_group()
    action.add_argument("--check", dest="action", action="store_const", const="check", help="look, change nothing")
    action.add_argument("--apply", dest="action", action="store_const", const="apply", help="patch both sources")
    action.add_argument("--revert", dest="action", action="store_const", const="revert", help="take the patch back")
    patch.add_argument("--site", metavar="DIR", help="folder that contains mamba_ssm (site-packages)")
    patch.set_defaults(run=_patch, action="check")
    return parser


def _preflight(arguments: argparse.Namespace) -> int:
    from helpers.environment.report import preflight  # here, as below: no command needs what another one imports
    from helpers.environment.screen import render

    report = preflight()
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(render(report, color=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return 0 if report.ready else 1


def _explain(arguments: argparse.Namespace) -> int:
    from helpers.environment.answer import render_explanation
    from helpers.environment.diagnosis import explain

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


def _doctor(arguments: argparse.Namespace) -> int:
    from helpers.environment.doctor import DoctorError, examine
    from helpers.environment.doctor_screen import render_checkup

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        checkup = examine(arguments.python, imports=not arguments.no_import, progress=progress)
    except DoctorError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(checkup.to_dict(), indent=2))
    else:
        print(render_checkup(checkup, color=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return 1 if checkup.broken else 0


def _plan(arguments: argparse.Namespace) -> int:
    from helpers.environment.plan import TargetError, find_target, plan

    given = {name: getattr(arguments, name) for name in ("torch", "cuda", "abi", "python", "platform", "gpu")}
    try:
        made = plan(find_target(**given), arguments.mamba, arguments.causal_conv1d)
    except TargetError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(made.to_dict(), indent=2))
    elif arguments.commands:
        print("\n".join(made.commands or [f"# {made.answer}"]))
    else:
        print(made)
    return 0 if made.possible else 1


def _patch(arguments: argparse.Namespace) -> int:
    from helpers.environment.jetson.command import main as patch

    return patch(arguments.action or "check", arguments.site)
