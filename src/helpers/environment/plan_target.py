"""The tuple that decides about wheels: torch, its CUDA and std::string, Python, platform, GPU. It is given, or read
from this machine without importing torch. What cannot be known is asked for, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from helpers.environment.catalogue import table
from helpers.environment.packages import Torch, find, torch_build
from helpers.environment.probe import Host, probe

__all__ = ["NO_GPU", "Target", "TargetError", "find_target"]

NO_GPU = "none"
FORMS = {  # of each part a pattern, and what a reader is told
    "torch": (r"\d+\.\d+\S*", "such as 2.5.1+cu124"),
    "cuda": (r"\d+\.\d+", "such as 12.4"),
    "python": (r"3\.\d+", "such as 3.11"),
    "platform": (
        r"linux_(x86_64|aarch64)|win_amd64|macosx_[0-9a-z_.]+",
        "linux_x86_64, linux_aarch64, win_amd64 or such as macosx_14_0_arm64",
    ),
    "gpu": (rf"\d+\.\d|{NO_GPU}", f"such as 9.0, or {NO_GPU}"),
}
OTHER_NAMES = {"arm64": "aarch64", "amd64": "x86_64", "AMD64": "x86_64"}


class TargetError(ValueError):
    """A part of the tuple is unknown, contradicts another, or is not what it should be."""


@dataclass(frozen=True)
class Target:
    """What something is to be installed for.

    Attributes
    ----------
    torch : str
        Version, such as `2.5.1`; a local part such as `+cu124` does not count.
    cuda : str or None
        The CUDA that torch was built with, such as `12.4`; None for a build without.
    abi : bool or None
        Whether torch was built with the `std::string` of C++11; None only where `cuda` is.
    python : str
        Such as `3.11`.
    platform : str
        As wheels name it: `linux_x86_64`, `linux_aarch64`, `win_amd64` or `macosx_…`.
    gpu : str or None
        Compute capability, such as `9.0`; `none` where there is no GPU; None where it is not known.
    build : str
        `cuda`, `cpu`, `rocm` or `mps`.
    container : str
        Release of the NVIDIA PyTorch image that this is, such as `25.09`; empty elsewhere.
    """

    torch: str
    cuda: str | None
    abi: bool | None
    python: str = "3.11"
    platform: str = "linux_x86_64"
    gpu: str | None = None
    build: str = "cuda"
    container: str = ""

    def __post_init__(self):
        for name in FORMS:
            _check(name, getattr(self, name))
        try:
            Version(self.torch)
        except InvalidVersion:
            raise TargetError(f"--torch {self.torch}: not a version, expected such as 2.5.1+cu124.") from None
        if self.cuda is not None and self.abi is None:
            raise TargetError(f"the std::string of torch {self.torch} is not known. {_ASK_ABI}")

    @property
    def minor(self) -> str:
        """The torch that wheels name: `2.5`, or the NVIDIA container."""
        return self.container or "{}.{}".format(*Version(self.torch).release[:2])

    @property
    def machine(self) -> str:
        """`x86_64` or `aarch64`, after the platform's name."""
        return self.platform.partition("_")[2]

    def describe(self) -> str:
        """In one line."""
        parts = [f"torch {Version(self.torch).public}", f"CUDA {self.cuda}" if self.cuda else f"{self.build} build"]
        if self.abi is not None:
            parts.append(f"cxx11 ABI {str(self.abi).upper()}")
        parts += [f"Python {self.python}", self.platform]
        parts.append({None: "GPU not given", NO_GPU: "no GPU"}.get(self.gpu, f"GPU {self.gpu}"))
        return ", ".join(parts + ([f"NVIDIA container {self.container}"] if self.container else []))


def _check(name: str, value: str | None) -> None:
    pattern, expected = FORMS[name]
    if value is not None and not re.fullmatch(pattern, value):
        raise TargetError(f"--{name} {value}: not understood, expected {expected}.")


_ASK_ABI = "Give --abi TRUE or FALSE, as `python -c 'import torch; print(torch._C._GLIBCXX_USE_CXX11_ABI)'` prints it."


def find_target(
    host: Host | None = None,
    torch: str | None = None,
    cuda: str | None = None,
    abi: str | None = None,
    python: str | None = None,
    platform: str | None = None,
    gpu: str | None = None,
) -> Target:
    """Complete what is given with what this machine tells.

    Parameters
    ----------
    host : Host, optional
        Where to read; this machine when left out.
    torch : str, optional
        Version; a local part such as `+cu124` or `+cpu` tells the build. The installed one when left out.
    cuda, python, platform, gpu : str, optional
        As in `Target`.
    abi : str, optional
        `TRUE` or `FALSE`. When left out it is read from the files of an installed torch; of a given one it follows from
        the version by the rule for official pip wheels.

    Returns
    -------
    Target

    Raises
    ------
    TargetError
        Where a part is unknown, contradicts another, or is not understood; the message asks for it.
    """
    host = host or Host()
    if abi is not None and abi.upper() not in ("TRUE", "FALSE"):
        raise TargetError(f"--abi {abi}: not understood, expected TRUE or FALSE.")
    for name, value in (("torch", torch), ("cuda", cuda), ("python", python), ("platform", platform), ("gpu", gpu)):
        _check(name, value)
    cxx11 = None if abi is None else abi.upper() == "TRUE"
    platform = platform or _platform(host)
    python = python or "{}.{}".format(*host.python)
    container = ""
    if torch:
        found = _given(torch, cuda, platform)
    else:
        found = torch_build(host)
        if found is None or found.build == "damaged":
            state = "not installed" if found is None else "damaged"
            raise TargetError(f"torch is {state} here. Give the one to plan for, such as --torch 2.10.0+cu128.")
        container = _container(host)
        if cuda and found.cuda and cuda != found.cuda:
            raise TargetError(f"--cuda {cuda}: the torch here is built for CUDA {found.cuda}. Give --torch too.")
    if found.build == "cuda" and cxx11 is None:
        cxx11 = _abi_by_rule(found, platform) if torch else _abi_of_files(host)
    if gpu is None:
        gpu = _gpu(host, planned_elsewhere=bool(torch))
    return Target(found.version, found.cuda, cxx11, python, platform, gpu, found.build, container)


def _given(torch: str, cuda: str | None, platform: str) -> Torch:
    try:
        local = Version(torch).local or ""
    except InvalidVersion:
        raise TargetError(f"--torch {torch}: not a version, expected such as 2.5.1+cu124.") from None
    if platform.startswith("macosx"):
        return Torch(torch, "mps" if platform.endswith("arm64") else "cpu")
    label = re.fullmatch(r"cu(\d+)(\d)", local)
    told = f"{label[1]}.{label[2]}" if label else None
    if told and cuda and told != cuda:
        raise TargetError(f"--torch {torch} says CUDA {told}, --cuda says {cuda}. Give one of them.")
    if local == "cpu" and not cuda:
        return Torch(torch, "cpu")
    if local.startswith("rocm"):
        return Torch(torch, "rocm")
    if not (told or cuda) and platform == "win_amd64":
        return Torch(torch, "cpu")  # as good as any: nothing is installed there
    if not (told or cuda):
        raise TargetError(
            f"--torch {torch}: its CUDA is not known. Give --cuda 12.4, or the whole version: {torch}+cu124, +cpu."
        )
    return Torch(torch, "cuda", told or cuda)


def _abi_by_rule(torch: Torch, platform: str) -> bool:
    version = Version(torch.version)
    official = not version.is_prerelease and re.fullmatch(r"cu\d+|", version.local or "")
    for rule in table("releases.toml")["abi"] if official else ():
        fits = version.public in SpecifierSet(rule["torch"])
        fits = fits and rule.get("cuda", torch.cuda) == torch.cuda
        if fits and rule.get("machine", platform.partition("_")[2]) == platform.partition("_")[2]:
            return rule["cxx11"]
    if platform == "win_amd64":
        return False  # what torch says there, where the question does not arise
    raise TargetError(f"the std::string of torch {torch.version} on {platform} is not known. {_ASK_ABI}")


def _abi_of_files(host: Host) -> bool | None:
    """Read it from the names that libc10 exports; None where there are none to read, as on Windows."""
    from helpers.environment.elf import ElfError, read_extension

    library = Path(str(find(host, "torch").locate_file("torch/lib/libc10.so")))
    try:
        names = read_extension(library).defined()
    except ElfError:
        return False if host.system == "Windows" else None
    return any("St7__cxx1112basic_string" in name for name in names)


def _container(host: Host) -> str:
    if host.environ.get("NVIDIA_PRODUCT_NAME") != "PyTorch":
        return ""
    return host.environ.get("NVIDIA_PYTORCH_VERSION", "")


def _platform(host: Host) -> str:
    machine = OTHER_NAMES.get(host.architecture, host.architecture)
    if host.system == "Darwin":
        return f"macosx_{host.architecture}"
    return "win_amd64" if host.system == "Windows" else f"linux_{machine}"


def _gpu(host: Host, planned_elsewhere: bool) -> str | None:
    gpus = [gpu for gpu in probe(host).gpus if gpu.kind != "mps"]
    known = sorted(filter(None, (gpu.compute_capability for gpu in gpus)), key=Version)
    if known:
        return known[0]
    return None if gpus or planned_elsewhere else NO_GPU
