"""The releases of mamba-ssm and causal-conv1d, read from `releases.toml`: facts and lookups in them. What to install is
not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from helpers.environment.catalogue import table

__all__ = [
    "PACKAGES",
    "Release",
    "Wheels",
    "arguments",
    "contract_kept",
    "contracts",
    "pairs",
    "release",
    "releases",
]

PACKAGES = ("mamba-ssm", "causal-conv1d")


@dataclass(frozen=True)
class Wheels:
    """Wheels of a release: every combination of these.

    Attributes
    ----------
    cuda : tuple of int
        CUDA majors.
    torch : tuple of str
        `2.5`, or an NVIDIA container such as `25.11`.
    abi : tuple of bool
        Whether `std::string` is the one of C++11.
    python, machine : tuple of str
    nightly : str
        The nightly torch that they were built against, empty for a release.
    nvcc : str
        At least this compiled them; empty where only its major is known.
    """

    cuda: tuple[int, ...]
    torch: tuple[str, ...]
    abi: tuple[bool, ...]
    python: tuple[str, ...]
    machine: tuple[str, ...]
    nightly: str = ""
    nvcc: str = ""


@dataclass(frozen=True)
class Release:
    """A release; `releases.toml` explains every attribute."""

    package: str
    repository: str
    force_build: str
    version: str
    date: str
    csrc: bool
    pyproject: bool
    build_requires: tuple[str, ...]
    needs: tuple[str, ...]
    spare: tuple[str, ...]
    archs: tuple[str, ...]
    machine: str
    name: dict[str, str]
    container: bool
    torch: str
    python: str
    cuda: int
    cxx: str
    basis: str
    glibc: str
    tag: str
    sources: tuple[str, ...]
    wheels: tuple[Wheels, ...]

    @property
    def guessed_tag(self) -> str:
        """The tag that pip looks for wheels at; they are at `tag`."""
        return f"v{self.version}"

    def covers(self, gpu: str, nvcc: str, exact: bool) -> bool | None:
        """Whether code for a GPU is in what `nvcc` compiles from this release.

        Parameters
        ----------
        gpu : str
            Compute capability, such as `9.0`.
        nvcc : str
            Version, such as `12.4`.
        exact : bool
            Whether it was this nvcc; otherwise it was this or a later one of the same major.

        Returns
        -------
        bool or None
            None where it depends on which later one. Code for sm_80 runs on 8.6 and 8.9, and so on in each major.
        """
        major, minor = (int(part) for part in gpu.split("."))
        if exact:
            return _fits(self.archs, major, minor, Version(nvcc))
        latest = Version(f"{Version(nvcc).major}.9")  # the last of CUDA 12; 11 and 13 have no arch that ends earlier
        early, late = (_fits(self.archs, major, minor, at) for at in (Version(nvcc), latest))
        return early if early == late else None


@lru_cache(maxsize=2)
def releases(package: str) -> tuple[Release, ...]:
    """Every known release of a package, oldest first."""
    found = table("releases.toml")[package]
    known = [_release(package, found, entry) for entry in found["release"]]
    return tuple(sorted(known, key=lambda item: Version(item.version)))


def release(package: str, version: str) -> Release:
    """One release.

    Raises
    ------
    KeyError
        Where `releases.toml` does not have it.
    """
    return {item.version: item for item in releases(package)}[version]


def pairs() -> tuple[tuple[Release, Release], ...]:
    """Every known mamba-ssm with every known causal-conv1d, newest first; most of them do not fit each other."""
    mambas, convolutions = (reversed(releases(package)) for package in PACKAGES)
    convolutions = tuple(convolutions)
    return tuple((mamba, convolution) for mamba in mambas for convolution in convolutions)


def contract_kept(mamba: str, causal_conv1d: str) -> bool:
    """Whether a mamba-ssm calls the compiled causal-conv1d as that expects to be called.

    Parameters
    ----------
    mamba, causal_conv1d : str
        Any versions, known here or not; local parts such as `+cu12torch2.6` do not count.

    Returns
    -------
    bool

    Raises
    ------
    packaging.version.InvalidVersion
        Where one is no version.
    """
    found = {"mamba-ssm": Version(mamba), "causal-conv1d": Version(causal_conv1d)}
    return any(all(found[name] in entry[name] for name in PACKAGES) for entry in contracts())


def arguments(package: str, version: str) -> int | None:
    """How many arguments a mamba-ssm passes to `causal_conv1d_fwd`, or a causal-conv1d takes; None where unknown."""
    return next((entry["arguments"][0] for entry in contracts() if Version(version) in entry[package]), None)


@lru_cache(maxsize=1)
def contracts() -> tuple[dict, ...]:
    """What is called with how many arguments: `arguments`, and for each package the versions as a SpecifierSet."""
    return tuple(
        {"arguments": entry["arguments"], **{name: SpecifierSet(entry[name], prereleases=True) for name in PACKAGES}}
        for entry in table("releases.toml")["contract"]
    )


def _release(package: str, found: dict, entry: dict) -> Release:
    lists = {name: tuple(entry.get(name, ())) for name in ("build_requires", "needs", "spare", "archs", "sources")}
    plain = ("version", "csrc", "pyproject", "machine", "name", "torch", "python", "cuda", "cxx", "basis")
    return Release(
        package=package,
        repository=found["repository"],
        force_build=found["force_build"],
        date=str(entry["date"]),
        container=entry.get("container", False),
        glibc=entry.get("glibc", ""),
        tag=entry.get("tag", f"v{entry['version']}"),
        wheels=tuple(_wheels(block) for block in entry.get("wheels", ())),
        **lists,
        **{name: entry[name] for name in plain},
    )


def _wheels(block: dict) -> Wheels:
    return Wheels(**{name: tuple(value) if isinstance(value, list) else value for name, value in block.items()})


def _fits(archs: tuple[str, ...], major: int, minor: int, nvcc: Version) -> bool:
    for arch in archs:
        name, _, condition = arch.partition(" ")
        if int(name[:-1]) == major and int(name[-1]) <= minor and nvcc in SpecifierSet(condition.replace(" ", "")):
            return True
    return False
