"""Labs that need what few machines have: they run where it is, and elsewhere show what they printed where it was.

`needs` is for a GPU, a compiler of CUDA or a package that most readers lack. What it shows elsewhere is a stored
output with its stamp, and it says so; it never pretends to have run.
"""

import contextlib
import importlib.util
import io
import json
import platform
import shutil
import sys
from pathlib import Path

from helpers.teaching.results import read_results, record

__all__ = ["NeedError", "needs", "require"]


class NeedError(RuntimeError):
    """A need that nobody knows, or a machine on which a whole chapter cannot run."""


def _gpu():
    import torch

    return torch.cuda.is_available()


def _two_gpus():
    import torch

    return torch.cuda.device_count() >= 2


def _torch_without_cuda():
    import torch

    return torch.version.cuda is None


def _mount_namespaces():
    if importlib.util.find_spec("modal") is None:  # whose model makes them
        return False
    from helpers.cloud.local.containers import why_no_containers

    return why_no_containers() is None


NEEDS = {
    "Linux": lambda: platform.system() == "Linux",
    "gcc": lambda: shutil.which("g++") is not None and shutil.which("gcc") is not None,
    "a GPU": _gpu,
    "two GPUs": _two_gpus,
    "a torch without CUDA": _torch_without_cuda,
    "nvcc": lambda: shutil.which("nvcc") is not None,
    "mount namespaces": _mount_namespaces,
    "no triton": lambda: importlib.util.find_spec("triton") is None,
    "mamba_ssm": lambda: importlib.util.find_spec("mamba_ssm") is not None,
    "causal_conv1d": lambda: importlib.util.find_spec("causal_conv1d") is not None,
    "modal": lambda: importlib.util.find_spec("modal") is not None,
    "Python 3.12 or older": lambda: sys.version_info < (3, 13),
}


def needs(*names):
    """Run the decorated function now if this machine has what it needs, and keep what it prints.

    Parameters
    ----------
    *names : str
        Keys of `NEEDS`.

    Returns
    -------
    callable
        A decorator. It leaves what the function returned under the function's name, or None where it did not run: then
        what it printed at the chapter's last execution on a machine that had it all is shown, with that machine.

    Raises
    ------
    NeedError
        For a name that is not known.
    """
    lacking = _lacking(names)

    def run_or_show(lab):
        if lacking:
            print(_stored(lab.__name__, lacking))
            return None
        with contextlib.redirect_stdout(_Both(sys.stdout)) as printed:
            value = lab()
        record(**{f"lab_{lab.__name__}": printed.getvalue()})
        return value

    return run_or_show


def require(*names, remedy):
    """Raise `NeedError` with the remedy unless this machine has all of `names`; for a chapter's first cell."""
    lacking = _lacking(names)
    if lacking:
        raise NeedError(f"this chapter needs {' and '.join(lacking)}, not found on this machine. {remedy}")


def _lacking(names):
    unknown = [name for name in names if name not in NEEDS]
    if unknown:
        raise NeedError(f"unknown need {unknown[0]!r}, expected one of {', '.join(NEEDS)}. Add it to NEEDS.")
    return [name for name in names if not NEEDS[name]()]


class _Both(io.StringIO):
    """Writes on, and keeps a copy."""

    def __init__(self, onward):
        super().__init__()
        self.onward = onward

    def write(self, text):
        self.onward.write(text)
        return super().write(text)


def _stored(name, lacking):
    said = f"This lab needs {' and '.join(lacking)}, not found here; nothing was run."
    for file in sorted(Path.cwd().glob("*.results.json")):
        chapter = file.with_name(file.name.replace(".results.json", ".ipynb"))
        for lane, values in read_results(chapter).items():
            if f"lab_{name}" in values:
                return f"{said}\nWhat it printed on {_where(chapter, lane)}:\n\n{values[f'lab_{name}']}".rstrip()
    return f"{said}\nIts stored output is on this chapter's page of the book."


def _where(chapter, lane):
    with contextlib.suppress(OSError, KeyError):
        stamp = json.loads(chapter.read_text(encoding="utf-8"))["metadata"]["workbook"]["lanes"][lane]
        return f"{stamp.get('device') or 'a CPU'}, torch {stamp['versions'].get('torch', '?')}, {stamp['date']}"
    return f"a machine of lane {lane}"
