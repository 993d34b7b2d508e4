"""The wheel that pip would guess for a release, what it would find there, and the wheel that really fits. No network:
which wheels exist is read from `catalogue/releases.toml`, which says how it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import Version

from helpers.environment.catalogue.releases import Release, Wheels, release
from helpers.environment.plan_target import NO_GPU, Target

__all__ = ["Wheel", "find_wheel", "guess_wheel"]

FIRST_NVCC = {11: "11.8"}  # every setup.py says that its wheels for CUDA 11 are compiled by 11.8


@dataclass(frozen=True)
class Wheel:
    """What a release has for a target.

    Attributes
    ----------
    guess : str or None
        The file that its setup.py makes pip ask for; None where setup.py stops instead.
    guess_url : str or None
        Where it asks.
    pip : str
        What comes of it: `hit`, `nightly` (a hit that was built against a nightly torch), `wrong machine` or
        `wrong CUDA` (a hit that cannot work), `other tag` (it exists, elsewhere), `404`, `unknown`, `stops`.
    name, url : str or None
        The wheel that fits the target, guessed or not; None where there is none, or nobody here knows.
    nightly : str
        The nightly torch that this wheel was built against, empty for a release.
    gpu : bool or None
        Whether the wheel has code for the target's GPU; None where that is not known.
    basis : str
        How its existence is known: `ci`, `listed` or `unknown`.
    """

    guess: str | None
    guess_url: str | None
    pip: str
    name: str | None
    url: str | None
    nightly: str
    gpu: bool | None
    basis: str


def guess_wheel(package: str, version: str, target: Target) -> str | None:
    """Return the wheel that `setup.py` of a release would look for, as its own `get_wheel_url` does.

    Parameters
    ----------
    package : str
        `mamba-ssm` or `causal-conv1d`.
    version : str
        One of `releases.toml`.
    target : Target

    Returns
    -------
    str or None
        File name; None where that function raises: for a torch without CUDA, or a CUDA that it does not know.
    """
    return _guess(release(package, version), target)


def find_wheel(package: str, version: str, target: Target) -> Wheel:
    """Tell what pip would get for a release, and which wheel of it fits.

    Parameters
    ----------
    package, version : str
        As in `guess_wheel`.
    target : Target

    Returns
    -------
    Wheel
    """
    found = release(package, version)
    guess = _guess(found, target)
    own, cuda = target.machine, _major(target)
    # A wheel for torch 2.5 is built against the official 2.5; an own build of that name may have other symbols.
    same_torch = found.container if target.container else not Version(target.torch).is_prerelease
    fitting = _block(found, target, own, cuda) if same_torch and target.platform.startswith("linux") else None
    name = None
    if fitting:
        name = _name(found, target, _cuda_word(found, cuda), own)
    return Wheel(
        guess=guess,
        guess_url=f"{found.repository}/releases/download/{found.guessed_tag}/{guess}" if guess else None,
        pip=_outcome(found, target, guess),
        name=name,
        url=f"{found.repository}/releases/download/{found.tag}/{name}" if name else None,
        nightly=fitting.nightly if fitting else "",
        gpu=_has_code(found, fitting, target, cuda) if fitting else None,
        basis=found.basis,
    )


def _guess(found: Release, target: Target) -> str | None:
    word = _cuda_word(found, _major(target)) if target.cuda else None
    if word is None or target.platform.startswith("macosx"):
        return None
    return _name(found, target, word, target.machine if found.machine == "own" else "x86_64")


def _name(found: Release, target: Target, cuda: str, machine: str) -> str:
    torch = target.minor if found.container else "{}.{}".format(*Version(target.torch).release[:2])
    python = "cp" + target.python.replace(".", "")
    platform = "win_amd64" if target.platform == "win_amd64" else f"linux_{machine}"
    build = f"cu{cuda}torch{torch}cxx11abi{str(bool(target.abi)).upper()}"
    return f"{found.package.replace('-', '_')}-{found.version}+{build}-{python}-{python}-{platform}.whl"


def _cuda_word(found: Release, major: int) -> str | None:
    return found.name.get(str(major), found.name.get("otherwise"))


def _major(target: Target) -> int:
    return Version(target.cuda).major if target.cuda else 0


def _outcome(found: Release, target: Target, guess: str | None) -> str:
    if guess is None:
        return "stops"
    if target.platform == "win_amd64":
        return "404"
    if found.basis == "unknown":
        return "unknown"
    machine = target.machine if found.machine == "own" else "x86_64"
    cuda = int(_cuda_word(found, _major(target))[:2])
    block = _block(found, target, machine, cuda)
    if block is None:
        return "404"
    if found.tag != found.guessed_tag:
        return "other tag"
    if machine != target.machine:
        return "wrong machine"
    if cuda != _major(target):
        return "wrong CUDA"
    return "nightly" if block.nightly else "hit"


def _block(found: Release, target: Target, machine: str, cuda: int) -> Wheels | None:
    torch = target.minor if found.container else "{}.{}".format(*Version(target.torch).release[:2])
    for block in found.wheels:
        fits = cuda in block.cuda and torch in block.torch and target.abi in block.abi
        if fits and target.python in block.python and machine in block.machine:
            return block
    return None


def _has_code(found: Release, block: Wheels, target: Target, cuda: int) -> bool | None:
    if target.gpu in (None, NO_GPU):
        return None
    return found.covers(target.gpu, block.nvcc or FIRST_NVCC.get(cuda, f"{cuda}.0"), exact=False)
