"""Why a plan is as it is: the sentences that stand under it. It decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from helpers.environment.catalogue.releases import Release, contracts, release
from helpers.environment.plan_commands import pins
from helpers.environment.plan_target import NO_GPU

if TYPE_CHECKING:
    from helpers.environment.plan import Pair, Plan

__all__ = ["notes_on"]

BASIS = {
    "listed": "listed among the files of the release",
    "ci": "by its release CI, of which a job may have failed",
}

ISOLATION = (
    "Without --no-build-isolation, setup.py sees another torch than this: the newest of the index, or none (mamba-ssm "
    "2.3.2.post1)."
)


def notes_on(made: Plan) -> tuple[str, ...]:
    """The notes on a plan, most important first."""
    if made.kind == "broken":
        return tuple(_broken(made))
    if made.kind in ("nothing", "wsl2"):
        return tuple(_idle(made))
    notes = []
    if made.chosen:
        notes += _chosen(made, made.chosen)
    return (*notes, ISOLATION)


def _broken(made: Plan) -> list[str]:
    entries = [f"mamba-ssm {entry['mamba-ssm']} with causal-conv1d {entry['causal-conv1d']}" for entry in contracts()]
    return [
        f"Fitting each other: {'; '.join(entries[-2:])}.",
        "pip does not check it. What comes of it is I2 or I3 of `workbook explain`.",
    ]


def _idle(made: Plan) -> list[str]:
    target = made.target
    if made.kind == "wsl2":
        return ["Inside WSL2 (Ubuntu 22.04 or later), run this plan again: it is linux_x86_64 there."]
    if target.platform.startswith("linux") and target.build == "cpu":
        notes = ["Under this torch an install fails whatever nvcc is here: torch looks for no toolkit then."]
        if target.gpu not in (None, NO_GPU):
            notes.append("For the GPU, plan with a CUDA build: --torch 2.10.0+cu128, for example.")
        return notes
    if target.gpu == NO_GPU:
        return ["To plan for a machine that has a GPU, give its compute capability: --gpu 9.0."]
    return []


def _chosen(made: Plan, row: Pair) -> list[str]:
    mamba, convolution = release("mamba-ssm", row.mamba), release("causal-conv1d", row.causal_conv1d)
    notes = []
    if made.kind in ("wheels", "switch"):
        known = {item.basis: BASIS[item.basis] for item in (mamba, convolution)}
        notes.append(f"That the wheels exist: {'; '.join(known.values())}.")
        glibc = max(mamba.glibc, convolution.glibc)
        if glibc:
            notes.append(f"They need glibc {glibc} or later (Ubuntu 22.04 has it, 20.04 does not).")
    if made.kind == "build":
        notes += _building(made, mamba, convolution)
    notes += [f"{pin['requirement']}: {pin['reason']}." for pin in pins(made.target, mamba, build=made.kind == "build")]
    unsure = [wheel.gpu is None for wheel in (row.mamba_wheel, row.causal_conv1d_wheel)]
    gpu = made.target.gpu
    if gpu is None:
        notes.append("GPU not given: whether they have code for it was not checked. Give --gpu 9.0.")
    elif made.kind == "wheels" and any(unsure):
        notes.append(
            f"Whether they have code for GPU {gpu} depends on an nvcc that the name does not tell: run one step."
        )
    if gpu == "10.3":
        notes.append("sm_103 code by nvcc 13 was seen to compute wrongly (causal-conv1d#105): compare results first.")
    return notes


def _building(made: Plan, mamba: Release, convolution: Release) -> list[str]:
    major = Version(made.target.cuda).major
    notes = [
        f"A build needs nvcc {major}.x, a C++ compiler and minutes to an hour; each job more, several GB of memory.",
        "TORCH_CUDA_ARCH_LIST does nothing here. For one GPU only, cut the -gencode list of setup.py in a clone.",
    ]
    without = [f"{item.package} {item.version}" for item in (mamba, convolution) if not item.csrc]
    if without:
        notes.append(f"From git, because PyPI's archives lack the sources: {', '.join(without)}.")
    return notes
