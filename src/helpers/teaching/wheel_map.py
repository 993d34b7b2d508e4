"""A map of the wheels of mamba-ssm: which release has one for which torch. The facts are those of `workbook plan`."""

import matplotlib.pyplot as plt

from helpers.environment.catalogue.releases import releases
from helpers.environment.plan import TargetError, find_target, find_wheel
from helpers.teaching.plots import COLORS, style

__all__ = ["TORCHES", "describe_wheels", "wheel_map", "wheels_found"]

TORCHES = ("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "2.9", "2.10", "2.11", "2.13", "2.14")
MARKS = {  # what pip would find: marker, color, and what the legend says
    "hit": ("o", COLORS["accent"], "a wheel that fits"),
    "nightly": ("D", COLORS["ink"], "a wheel built on a nightly torch"),
    "wrong machine": ("X", COLORS["marked"], "a wheel that cannot work"),
    "wrong CUDA": ("X", COLORS["marked"], "a wheel that cannot work"),
    "404": (".", COLORS["quiet"], "no wheel (404)"),
}


def wheels_found(torch, cuda, machine, python="3.11"):
    """What pip, without isolation, would find for each release of mamba-ssm on Linux.

    Parameters
    ----------
    torch, cuda : str
        Such as ``"2.5"`` and ``"12.4"``.
    machine : str
        ``"x86_64"`` or ``"aarch64"``.
    python : str

    Returns
    -------
    dict of str to str
        Release to a word as `helpers.environment.plan.Wheel.pip` has it, or ``"unknown"`` where nobody here knows the
        string ABI of that torch.
    """
    versions = [release.version for release in releases("mamba-ssm")]
    try:
        target = find_target(torch=f"{torch}.0", cuda=cuda, python=python, platform=f"linux_{machine}", gpu="none")
    except TargetError:
        return dict.fromkeys(versions, "unknown")
    return {version: find_wheel("mamba-ssm", version, target).pip for version in versions}


def wheel_map(cuda, machine):
    """Draw the wheels of all releases for all of `TORCHES`; returns the figure."""
    with style():
        figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
        shown = {}
        for column, torch in enumerate(TORCHES):
            for row, found in enumerate(wheels_found(torch, cuda, machine).values()):
                if found in MARKS:
                    marker, color, says = MARKS[found]
                    size = 20 if found == "404" else 90
                    shown[says] = axes.scatter(column, row, size, color=color, marker=marker)
        versions = [release.version for release in releases("mamba-ssm")]
        axes.set_yticks(range(len(versions)), versions)
        axes.set_xticks(range(len(TORCHES)), TORCHES)
        axes.set(xlabel="torch that setup.py sees", ylabel="mamba-ssm")
        axes.set_title(f"CUDA {cuda}, {machine}")
        figure.legend(shown.values(), shown, loc="outside lower left", ncols=3)
    return figure


def describe_wheels(cuda, machine):
    """The same as `wheel_map`, in words for whoever cannot see it."""
    found = {torch: wheels_found(torch, cuda, machine) for torch in TORCHES}
    fits = [torch for torch, row in found.items() if "hit" in row.values()]
    useless = [torch for torch, row in found.items() if {"wrong machine", "wrong CUDA"} & {*row.values()}]
    first, *_, last = found[TORCHES[0]]
    return (
        f"A grid for CUDA {cuda} on {machine}: releases of mamba-ssm from {first} to {last} upward, torch from "
        f"{TORCHES[0]} to {TORCHES[-1]} to the right. Some release has a wheel that fits for torch "
        f"{', '.join(fits) or 'none'}. For torch {', '.join(useless) or 'none'} a file that pip would fetch cannot "
        "work. Everywhere else there is no wheel."
    )
