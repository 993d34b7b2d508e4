"""``python -m helpers.cloud [options] -- modal run …``: run a command against the model of Modal on this machine.

Nothing is sent anywhere, built, rented or paid. A line on standard error says so, and what was recorded.
"""

import argparse
import secrets
import signal
import subprocess
import sys

__all__ = ["main"]


def main(arguments=None):
    """Run the command; its exit code, or 0 where it was recorded as asked.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the command line if left out.

    Returns
    -------
    int
    """
    parser = argparse.ArgumentParser(prog="python -m helpers.cloud", description=__doc__.partition("\n")[0])
    parser.add_argument("--record-only", action="store_true", help="record what is declared; run no Function")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME=KEY,KEY",
        help="a Secret that exists, with made-up values",
    )
    parser.add_argument(
        "--bucket", action="append", default=[], metavar="NAME=FOLDER", help="a folder that stands for an S3 bucket"
    )
    parser.add_argument("--volumes", metavar="FOLDER", help="where Volumes are kept; without, they vanish at the end")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, metavar="F", help="seconds here for each second of a timeout"
    )
    parser.add_argument("--report", metavar="FILE", help="write what was recorded as JSON")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --, such as: modal run app.py")
    given, rest = parser.parse_known_args(arguments)
    if rest or given.command[0] == "run":
        parser.error("the command stands behind --: python -m helpers.cloud [options] -- modal run app.py")
    try:
        from helpers.cloud.local import LocalModal
    except ModuleNotFoundError as fault:
        print(f"error: {fault.name} is not installed. Install it: pip install modal", file=sys.stderr)
        return 1
    made_up = secrets.token_hex(16)  # a value that is in no file: `leaks` looks for it everywhere
    workspace = {name: dict.fromkeys(keys.split(","), made_up) for name, keys in _pairs(given.secret)}
    with LocalModal(
        workspace, dict(_pairs(given.bucket)), given.volumes, not given.record_only, given.time_scale
    ) as modal:
        print("A model of Modal on this machine: nothing is built, rented or paid.", file=sys.stderr)
        if modal.refused:
            print(f"It records only: {modal.refused}.", file=sys.stderr)
        code = _run(given.command, modal.environment())
        found = modal.report()
        if given.report:
            modal.write_report(given.report)
    statuses = ", ".join(f"{attempt['function']} {attempt['status']}" for attempt in found["attempts"]) or "none"
    print(f"Model of Modal: {len(found['functions'])} Functions declared; containers: {statuses}", file=sys.stderr)
    if given.volumes:
        print(f"Model of Modal: Volumes are folders in {given.volumes}", file=sys.stderr)
    for name in found["missing"]:
        print(f"Model of Modal: it has no {name}, which was asked for", file=sys.stderr)
    for place in found["leaks"]:
        print(f"Model of Modal: THE VALUE OF A SECRET IS IN {place}", file=sys.stderr)
    if found["leaks"]:
        return 1
    return 0 if given.record_only and found["functions"] else code


def _run(command, environment):
    """The exit code of a command, which gets Ctrl-C as this process does and is waited for."""
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as fault:
        print(f"error: {command[0]} cannot be started ({fault.strerror}). Is it installed here?", file=sys.stderr)
        return 127
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _pairs(texts):
    return [tuple(text.partition("=")[::2]) for text in texts]


if __name__ == "__main__":
    sys.exit(main())
