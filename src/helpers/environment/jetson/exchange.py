"""Changing several files of a folder in one step: a changed copy of the folder takes its place.

Two folders change places by one system call of Linux (`renameat2`), so a reader, or a process that is killed, finds all
files of before or all of after. Not every file system has it: an image's own layer in a container refuses.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from helpers.environment.writing import on_disk

__all__ = ["NoExchange", "exchanging"]

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <fcntl.h> and <linux/fs.h>
_REFUSALS = {errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EOPNOTSUPP}


class NoExchange(OSError):
    """The system or the file system cannot exchange two folders; nothing was changed."""


@contextmanager
def exchanging(folder: str | os.PathLike[str]):
    """Copy a folder, and let the copy take its place when the block ends; if the block raises, nothing happens.

    A process that is killed may leave the copy behind, beside the folder; the next call for the same folder removes it.

    Parameters
    ----------
    folder : str or Path

    Yields
    ------
    Path
        The copy, with modes, times and, for root, owners. Its files are its own: none is linked to the folder's.

    Raises
    ------
    NoExchange
        Where two folders cannot be exchanged.
    OSError
        Where the copy cannot be written.
    """
    folder = Path(folder).resolve()
    prefix = f".{folder.name}-changed-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix, dir=folder.parent) as place:
        copy = Path(place, folder.name)
        shutil.copytree(folder, copy, symlinks=True)
        for path in [copy, *copy.rglob("*")]:
            owner = (folder / path.relative_to(copy)).lstat()
            with suppress(OSError):  # of somebody else, and we are not root
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        yield copy
        for path in [copy, *copy.rglob("*")]:  # the old ones go: a power failure must not find these half written
            if not path.is_symlink():
                on_disk(path)
        _exchange(folder, copy)  # and the old one goes with `place`
    on_disk(folder.parent)


def _exchange(one: Path, other: Path) -> None:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # no Linux, or a C library without it
        raise NoExchange(errno.ENOSYS, "no renameat2 here", str(one)) from None
    if renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    raise (NoExchange if code in _REFUSALS else OSError)(code, os.strerror(code), str(one))
