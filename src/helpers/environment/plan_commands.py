"""The commands of a plan, for a POSIX shell, each on one line. Which releases they are about is not decided here."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from helpers.environment.catalogue import table
from helpers.environment.catalogue.releases import Release
from helpers.environment.plan_target import Target

__all__ = ["build_commands", "pins", "switch_command", "wheel_commands"]

PIP = "python -m pip install"
WITH_TORCH = ("torch", "triton")  # torch for CUDA on Linux brings the triton that it was made with; else a pin has it


def wheel_commands(mamba: Release, convolution: Release, urls: tuple[str, str], target: Target) -> tuple[str, ...]:
    """Install two wheels by address, and then what they need; pip must not resolve torch anew."""
    wheels = f"{PIP} --no-deps {_quoted(urls)}"
    return wheels, f"{PIP} {_quoted(_requirements([*mamba.needs, *convolution.needs], pins(target, mamba)))}"


def build_commands(mamba: Release, convolution: Release, target: Target) -> tuple[str, ...]:
    """Compile both against the torch that is installed: no isolation, no wheel from pip's cache or the release."""
    wanted = ["setuptools", "wheel", "packaging", "ninja", *mamba.build_requires, *convolution.build_requires]
    tools = _requirements([*wanted, *mamba.needs, *convolution.needs], pins(target, mamba, build=True))
    commands = [f"{PIP} {_quoted(tools)}"]
    sources = []
    for item in (convolution, mamba):
        if _outdated_standard(item, target):
            folder = f"{item.package}-{item.version}"
            commands.append(f"git clone --depth 1 --branch {item.guessed_tag} {item.repository} {folder}")
            standard = _outdated_standard(item, target)
            commands.append(f'sed -i "s/-std=c++{item.cxx}/-std=c++{standard}/" {folder}/setup.py')
            sources.append(f"./{folder}")
        elif item.csrc:
            sources.append(f"{item.package}=={item.version}")
        else:
            sources.append(f"{item.package} @ git+{item.repository}@{item.guessed_tag}")
    forced = " ".join(f"{item.force_build}=TRUE" for item in (convolution, mamba))
    options = "--no-build-isolation --no-cache-dir --no-deps"
    return *commands, f"{forced} MAX_JOBS=2 {PIP} {options} {_quoted(sources)}"


def switch_command(target: Target) -> str:
    """Install the torch of a target from the index of its CUDA build."""
    index = "https://download.pytorch.org/whl/cu" + target.cuda.replace(".", "")
    return f'{PIP} "torch=={target.torch}" --index-url {index}'


def pins(target: Target, mamba: Release, build: bool = False) -> tuple[dict, ...]:
    """The pins of `releases.toml` that apply; of several on one package, the first is the narrowest."""
    torch = Version(target.torch).base_version
    found = [
        pin
        for pin in table("releases.toml")["pin"]
        if torch in SpecifierSet(pin.get("torch", ""))
        and SpecifierSet(pin.get("mamba-ssm", "")).contains(mamba.version, prereleases=True)
        and (build or not pin.get("build"))
        and target.platform.endswith(pin.get("machine", ""))
    ]
    names = [Requirement(pin["requirement"]).name for pin in found]
    return tuple(pin for at, pin in enumerate(found) if names[at] not in names[:at])


def _requirements(wanted: list[str], pinned: tuple[dict, ...]) -> list[str]:
    merged: dict[str, SpecifierSet] = {}
    named = [Requirement(pin["requirement"]) for pin in pinned]
    kept = {item.name for item in named}
    for item in [*map(Requirement, wanted), *named]:
        if item.name not in WITH_TORCH or item.name in kept:
            merged[item.name] = merged.get(item.name, SpecifierSet()) & item.specifier
    return [f"{name}{specifier}" for name, specifier in sorted(merged.items())]


def _outdated_standard(item: Release, target: Target) -> str:
    torch = Version(target.torch).base_version
    rules = table("releases.toml")["cxx"]
    needed = next((rule["standard"] for rule in rules if torch in SpecifierSet(rule["torch"])), "")
    return needed if item.cxx and needed > item.cxx else ""


def _quoted(words) -> str:
    return " ".join(word if word.replace("-", "").isalnum() else f'"{word}"' for word in words)
