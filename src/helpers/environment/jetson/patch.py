"""Writing the patch: both source files of an installed mamba_ssm, or neither.

What is written is worked out first, and checked to lead back to the same bytes. Then the two change in one step, with
the folder that holds them. Where the file system cannot do that, as in the layers of a container's image, they are
renamed one right after the other: an error or Ctrl-C on the way puts back what was there, and a process that is killed
between the two leaves one file patched, and whole; the check says so, and the next `apply` or `revert` finishes.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path

from helpers.environment.jetson.edits import FILES, UnknownSource, original, patched
from helpers.environment.jetson.exchange import NoExchange, exchanging
from helpers.environment.writing import replacing

__all__ = ["VERSIONS", "PatchError", "apply", "revert"]

VERSIONS = ("2.2.2", "2.2.4")  # whose sources the patch was tried on


class PatchError(Exception):
    """The patch cannot be applied or taken back; no file was changed."""


def apply(folder: str | os.PathLike[str]) -> list[Path]:
    """Patch an installed mamba_ssm of 2.2.2 or 2.2.4.

    A source that is a link (to a cache, say) becomes a file of its own, and what it led to stays as it is.

    Parameters
    ----------
    folder : str or Path
        The package, `site-packages/mamba_ssm`.

    Returns
    -------
    list of Path
        Files that were changed; empty where they had the patch.

    Raises
    ------
    PatchError
        Where the version is another, or a source is missing, unknown, or cannot be written. All files are then as they
        were.
    """
    init = Path(folder) / "__init__.py"
    try:
        text = init.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^__version__ = [\"']([^\"'+]+)", text, re.MULTILINE)
    if not found or found[1] not in VERSIONS:
        raise PatchError(
            f"{init}: found version {found[1] if found else 'none'}, expected {' or '.join(VERSIONS)}, whose sources "
            "the patch knows. Take a pair that fits instead: workbook patch jetson --check."
        )
    return _turn(Path(folder), patched, original)


def revert(folder: str | os.PathLike[str]) -> list[Path]:
    """Take the patch back, so that both files are byte for byte as they were; parameters and errors as `apply`.

    Files without the patch stay as they are, whatever their version.
    """
    return _turn(Path(folder), original, patched)


def _turn(folder: Path, there, back) -> list[Path]:
    changes = {}
    _clean(folder)
    for name in FILES:
        path = folder / name
        try:
            before = path.read_bytes()
            after = there(before, name)
            if after != before and back(after, name) != before:
                raise UnknownSource(f"{name}: the way back leads to other bytes", "the same bytes")
        except OSError as error:
            raise PatchError(
                f"{path}: cannot be read ({error.strerror or error}), expected a source of mamba_ssm. Run it as the "
                "owner of that folder."
            ) from error
        except UnknownSource as error:
            raise PatchError(str(error)) from error
        if after != before:
            changes[path] = before, after
    try:
        _write_at_once(folder, {path: after for path, (_, after) in changes.items()})
    except BaseException as error:
        _put_back({path: before for path, (before, _) in changes.items()})
        if isinstance(error, OSError):
            said = f"{folder / 'ops'}: cannot be written ({error.strerror or error})"  # error names a file of ours
            raise PatchError(f"{said}; nothing was changed. Run it as the owner of that folder.") from error
        raise
    return list(changes)


def _clean(folder: Path) -> None:
    """Remove what a killed process left beside the files; of `replacing`, which draws eight letters for a name."""
    for name in FILES:
        path = folder / name
        for left in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 8}.part"):
            with suppress(OSError):
                left.unlink()


def _write_at_once(folder: Path, contents: dict[Path, bytes]) -> None:
    if not contents:
        return
    ops = folder / "ops"  # holds all FILES
    try:
        with exchanging(ops) as copy:
            _write({copy / path.relative_to(ops): content for path, content in contents.items()})
    except NoExchange:
        _write(contents)


def _write(contents: dict[Path, bytes]) -> None:
    """Write all files beside their places, then rename them: an error before the first rename changes nothing."""
    with ExitStack() as stack:
        for path, content in contents.items():
            file = stack.enter_context(replacing(path))
            facts = path.stat()
            os.fchmod(file.fileno(), facts.st_mode & 0o7777)
            with suppress(OSError):  # root patches a file of somebody else
                os.fchown(file.fileno(), facts.st_uid, facts.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _put_back(contents: dict[Path, bytes]) -> None:
    _write({path: content for path, content in contents.items() if path.read_bytes() != content})
