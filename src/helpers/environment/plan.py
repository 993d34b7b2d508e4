"""What to install, for a torch, CUDA, std::string, Python, platform and GPU: what pip would do for every pair of
releases, the shortest list of commands that is right, and whether anything is to be installed at all.

It works from tables: it installs, fetches and imports nothing. That a wheel exists is known from the release's CI or
from a list of its files; that an installed pair works, only an import tells.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from packaging.version import Version

from helpers.environment.catalogue import table
from helpers.environment.catalogue.releases import (
    PACKAGES,
    Release,
    arguments,
    contract_kept,
    pairs,
    release,
    releases,
)
from helpers.environment.plan_commands import build_commands, switch_command, wheel_commands
from helpers.environment.plan_notes import notes_on
from helpers.environment.plan_screen import render_plan
from helpers.environment.plan_target import NO_GPU, Target, TargetError, find_target
from helpers.environment.plan_wheels import Wheel, find_wheel, guess_wheel

__all__ = [
    "Pair",
    "Plan",
    "Target",
    "TargetError",
    "contract_kept",
    "find_target",
    "find_wheel",
    "guess_wheel",
    "pairs",
    "plan",
]

LOWEST_CUDA = Version("11.6")  # every setup.py refuses an older nvcc


@dataclass(frozen=True)
class Pair:
    """A mamba-ssm with a causal-conv1d, for one target.

    Attributes
    ----------
    mamba, causal_conv1d : str
        Versions.
    contract : bool
        Whether the first calls the second as that expects.
    mamba_wheel, causal_conv1d_wheel : Wheel
        What pip would find, and what fits.
    way : str
        `wheels`, `build`, or empty where neither works.
    why_not : str
        What stands against the wheels; empty where nothing does.
    """

    mamba: str
    causal_conv1d: str
    contract: bool
    mamba_wheel: Wheel
    causal_conv1d_wheel: Wheel
    way: str
    why_not: str


@dataclass(frozen=True)
class Plan:
    """What to do for a target; as a string, one screen.

    Attributes
    ----------
    target : Target
    kind : str
        `nothing` (to install), `wsl2` (Windows), `wheels`, `build`, `switch` (to another torch), `broken` (the pair
        that was asked for breaks the contract) or `none` (no way is known).
    answer : str
        One sentence.
    commands : tuple of str
        For a shell, each on one line; empty where there is nothing to run.
    chosen : Pair or None
    pairs : tuple of Pair
        Newest first.
    otherwise : str
        The second way, in one sentence; empty where there is none.
    other_commands : tuple of str
        Its commands.
    notes : tuple of str
        Why, one sentence or two each.
    """

    target: Target
    kind: str
    answer: str
    commands: tuple[str, ...] = ()
    chosen: Pair | None = None
    pairs: tuple[Pair, ...] = ()
    otherwise: str = ""
    other_commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether there is a way, doing nothing included."""
        return self.kind not in ("broken", "none")

    def __str__(self) -> str:
        return render_plan(self)

    __repr__ = __str__

    def to_dict(self) -> dict:
        """As what JSON can say; the ABI, and whether a wheel has code for the GPU, are true, false or null."""
        return asdict(self)


def plan(target: Target, mamba: str | None = None, causal_conv1d: str | None = None) -> Plan:
    """Find out what to install.

    Parameters
    ----------
    target : Target
        From `find_target`, or put together by hand.
    mamba, causal_conv1d : str, optional
        Versions to keep to.

    Returns
    -------
    Plan

    Raises
    ------
    TargetError
        Where a version to keep to is not known here.
    """
    for package, version in zip(PACKAGES, (mamba, causal_conv1d), strict=True):
        known = [item.version for item in releases(package)]
        if version and version not in known:
            raise TargetError(f"{package} {version} is not known here, expected one of {', '.join(known)}.")
    asked = [
        (first, second)
        for first, second in pairs()
        if mamba in (None, first.version) and causal_conv1d in (None, second.version)
    ]
    rows = tuple(_pair(first, second, target) for first, second in asked)
    made = replace(_decided(target, rows, asked), pairs=rows)
    return replace(made, notes=notes_on(made))


def _decided(target: Target, rows: tuple[Pair, ...], asked: list[tuple[Release, Release]]) -> Plan:
    if not any(row.contract for row in rows):
        row = rows[0]
        passed, taken = arguments("mamba-ssm", row.mamba), arguments("causal-conv1d", row.causal_conv1d)
        answer = (
            f"Not this pair: mamba-ssm {row.mamba} passes {passed} arguments to causal_conv1d_fwd, and causal-conv1d "
            f"{row.causal_conv1d} takes {taken}."
        )
        return Plan(target, "broken", answer)
    idle = _idle(target)
    if idle:
        return Plan(target, "wsl2" if target.platform == "win_amd64" else "nothing", idle)
    ways = {way: _best([row for row in rows if row.way == way]) for way in ("wheels", "build")}
    if ways["wheels"]:
        row = ways["wheels"]
        answer = f"Install these two wheels: mamba-ssm {row.mamba} and causal-conv1d {row.causal_conv1d}."
        return Plan(target, "wheels", answer, wheel_commands(*_releases(row), _urls(row), target), row)
    return _without_wheels(target, ways["build"], asked)


def _without_wheels(target: Target, row: Pair | None, asked: list[tuple[Release, Release]]) -> Plan:
    tuple_ = f"torch {target.minor}, CUDA {target.cuda}, Python {target.python}, {target.platform}"
    built = switched = None
    if row:
        answer = f"Build mamba-ssm {row.mamba} and causal-conv1d {row.causal_conv1d}: no two wheels that fit are known."
        built = Plan(target, "build", answer, build_commands(*_releases(row), target), row)
    elsewhere = _other_torch(target, asked)
    if elsewhere:
        other, chosen = elsewhere
        commands = (switch_command(other), *wheel_commands(*_releases(chosen), _urls(chosen), other))
        answer = (
            f"Take torch {other.torch} for CUDA {other.cuda}, which has wheels: mamba-ssm {chosen.mamba} and "
            f"causal-conv1d {chosen.causal_conv1d}."
        )
        switched = Plan(target, "switch", answer, commands, chosen)
    if not (built or switched):
        return Plan(target, "none", f"No way is known: neither wheels nor a build for {tuple_}.")
    first, *second = sorted(filter(None, (built, switched)), key=lambda way: len(way.commands))
    if not second:
        return first
    return replace(first, otherwise=second[0].answer, other_commands=second[0].commands)


def _idle(target: Target) -> str:
    """Why nothing is to be installed; empty where something is."""
    exact = "The workbook's torch path needs neither and is exact."
    if target.platform.startswith("macosx"):
        return f"Nothing to install: there is no CUDA on macOS. {exact}"
    if target.platform == "win_amd64":
        return f"Nothing to install on Windows itself: both packages are for Linux, so for WSL2. {exact}"
    if target.build == "rocm":
        return f"Nothing to install that this plan knows: torch {target.torch} is a ROCm build. {exact}"
    if target.cuda is None:
        return f"Nothing to install: torch {target.torch} is a build without CUDA. {exact}"
    if target.gpu == NO_GPU:
        return f"Nothing to install: the kernels need a GPU, and there is none. {exact}"
    if target.gpu and not any(
        item.covers(target.gpu, nvcc, exact=True)
        for package in PACKAGES
        for item in releases(package)
        for nvcc in ("11.8", "12.9", "13.0")
    ):
        return f"Nothing to install: no release has code for a GPU of compute capability {target.gpu}. {exact}"
    return ""


def _pair(first: Release, second: Release, target: Target) -> Pair:
    wheels = tuple(find_wheel(item.package, item.version, target) for item in (first, second))
    contract = contract_kept(first.version, second.version)
    why_not = ""
    if not contract:
        why_not = "the contract is broken"
    elif target.cuda is None:
        why_not = "torch has no CUDA"
    else:
        why_not = next(
            filter(None, (_against(*both, target) for both in zip((first, second), wheels, strict=True))), ""
        )
    way = ""
    if contract and target.cuda:
        way = "build" if why_not else "wheels"
    if way == "build" and not all(_compiles(item, target) for item in (first, second)):
        way = ""
    return Pair(first.version, second.version, contract, *wheels, way, why_not)


def _against(item: Release, wheel: Wheel, target: Target) -> str:
    name = f"{item.package} {item.version}"
    if Version(target.python) < Version(item.python):
        return f"{name} needs Python {item.python}"
    if _older(target, item):
        return f"{name} needs torch {item.torch}"
    if wheel.url is None:
        return f"it is not known which wheels {name} has" if wheel.basis == "unknown" else f"no wheel of {name} fits"
    if wheel.nightly:
        return f"the wheel of {name} was built against torch {wheel.nightly}"
    return f"{name} has no code for GPU {target.gpu} in it" if wheel.gpu is False else ""


def _compiles(item: Release, target: Target) -> bool:
    if not target.platform.startswith("linux") or Version(target.cuda).major > item.cuda:
        return False
    if Version(target.python) < Version(item.python) or _older(target, item) or Version(target.cuda) < LOWEST_CUDA:
        return False
    return target.gpu in (None, NO_GPU) or bool(item.covers(target.gpu, target.cuda, exact=True))


def _older(target: Target, item: Release) -> bool:
    return Version(Version(target.torch).base_version) < Version(item.torch)  # 2.4.0a0 is a 2.4


def _best(rows: list[Pair]) -> Pair | None:
    """Wheels that are known to have code for the GPU first, then those that need least beside them, then the newest."""

    def rank(row: Pair) -> tuple:
        sure = [row.way == "wheels" and wheel.gpu is not None for wheel in (row.mamba_wheel, row.causal_conv1d_wheel)]
        frugal = not release("mamba-ssm", row.mamba).spare
        return sum(sure), frugal, Version(row.mamba), Version(row.causal_conv1d)

    return max(rows, key=rank, default=None)


def _other_torch(target: Target, asked: list[tuple[Release, Release]]) -> tuple[Target, Pair] | None:
    """The newest torch that has two wheels, for the same CUDA major or a lower one, which the driver takes too."""
    if target.container or target.platform != "linux_x86_64":
        return None
    old = target.gpu not in (None, NO_GPU) and Version(target.gpu) < Version("7.5")
    for entry in table("releases.toml")["torch"]:
        builds = [cuda for cuda in entry["cuda"] if Version(cuda).major <= Version(target.cuda).major]
        for cuda in sorted(builds, key=Version, reverse=True):
            if old and Version(cuda) >= Version("12.8"):
                continue
            other = replace(target, torch=entry["version"], cuda=cuda, abi=True)
            rows = [_pair(first, second, other) for first, second in asked]
            best = _best([row for row in rows if row.way == "wheels"])
            if best:
                return other, best
    return None


def _releases(row: Pair) -> tuple[Release, Release]:
    return release("mamba-ssm", row.mamba), release("causal-conv1d", row.causal_conv1d)


def _urls(row: Pair) -> tuple[str, str]:
    return row.mamba_wheel.url, row.causal_conv1d_wheel.url
