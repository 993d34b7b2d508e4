"""`patch jetson`: what it prints, and its exit codes. What is looked at and written is decided in the other files."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

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
        return _error(fault, 2)
    except OSError as fault:
        said = f"{fault.filename}: cannot be read ({fault.strerror or fault}), expected a folder of packages."
        return _error(f"{said} Run it as the owner of that folder.", 2)
    if site is not None and found.folder and not found.folder.is_relative_to(Path(site).absolute()):
        found = replace(found, folder=None)  # of another installation, which was not asked for
    if found.folder is None and (site is not None or action != "check"):
        where = site or "the folders of this Python"
        return _error(f"no mamba_ssm in {where}. Give the folder that contains it (site-packages): --site DIR", 2)
    if action == "check":
        print(found)
        return 2 if found.folder is None else int(found.broken)
    try:
        return _apply(found) if action == "apply" else _revert(found)
    except PatchError as fault:
        return _error(fault, 1)


def _error(said: object, code: int) -> int:
    print(f"error: {said}", file=sys.stderr)
    return code


def _apply(found: Checkup) -> int:
    verdict = found.contract.verdict
    if verdict in ("fits", "patched"):
        print(f"nothing was changed: {found.layers[0].summary}")
        return 0
    if not found.patch_helps:
        _error(f"nothing was changed, the patch does not mend this: {found.layers[0].summary}", 1)
        print("\n".join(found.advice), file=sys.stderr)
        return 1
    for path in apply(found.folder):
        print(f"patched {path}")
    print("The right cure is still a pair that fits: mamba-ssm 2.2.5 or later, whose files replace these, or an older")
    print("causal-conv1d. Take the patch back (--revert) only if you keep this mamba-ssm.")
    return 0


def _revert(found: Checkup) -> int:
    changed = revert(found.folder)
    for path in changed:
        print(f"as it was: {path}")
    if not changed:
        print("nothing was changed: there is no patch")
    return 0
