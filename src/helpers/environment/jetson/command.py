"""`patch jetson`: what it prints, and its exit codes. What is looked at and written is decided in the other files."""

from __future__ import annotations

import os
import sys

from helpers.environment.doctor_result import DoctorError
from helpers.environment.jetson.checkup import Checkup, check
from helpers.environment.jetson.patch import PatchError, apply, revert

__all__ = ["main"]


def main(action: str, site: str | os.PathLike[str] | None = None) -> int:
    """Check, apply or revert, and say what was done.

    Parameters
    ----------
    action : {"check", "apply", "revert"}
    site : str or Path, optional
        As for `check`.

    Returns
    -------
    int
        0 where nothing is broken, or what was asked for is so now; 1 where something is, or the patch was refused; 2
        where there is no such folder.
    """
    try:
        found = check(site, imports=action == "check")
    except DoctorError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    if action == "check":
        print(found)
        return 2 if found.folder is None else int(found.broken)
    if found.folder is None:
        print(
            f"error: no mamba_ssm in {site or 'the folders of this Python'}. Give its folder: --site", file=sys.stderr
        )
        return 2
    try:
        return _apply(found) if action == "apply" else _revert(found)
    except PatchError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1


def _apply(found: Checkup) -> int:
    verdict = found.contract.verdict
    if verdict in ("fits", "patched"):
        print(f"nothing was changed: {found.layers[0].summary}")
        return 0
    if verdict not in ("too few", "half patched"):
        print(f"error: nothing was changed, the patch does not mend this. {found.layers[0].summary}", file=sys.stderr)
        print("\n".join(found.advice), file=sys.stderr)
        return 1
    for path in apply(found.folder):
        print(f"patched {path}")
    print("The right cure is still a pair that fits; then: workbook patch jetson --revert")
    return 0


def _revert(found: Checkup) -> int:
    changed = revert(found.folder)
    for path in changed:
        print(f"as it was: {path}")
    if not changed:
        print("nothing was changed: there is no patch")
    return 0
