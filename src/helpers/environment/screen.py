"""A report as one screen of text: at most 24 lines of 80 columns, readable without color. It decides nothing; what does
not fit here stands in the report's JSON.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from helpers.environment.probe import Gpu
from helpers.environment.report import Report

WIDTH = 80
HEIGHT = 24
COLORS = {"yes": "32", "partly": "33", "no": "31"}


def render(report: Report, color: bool = False) -> str:
    """Draw a report.

    Parameters
    ----------
    report : Report
    color : bool
        Whether to color the answers with ANSI codes; the words are the same.

    Returns
    -------
    str
        At most 24 lines; none is longer than 80 columns, unless a command holds a longer path.
    """
    state = "ready" if report.ready else "not ready"
    lines = [f"Pre-flight of the workbook {report.workbook or '(not installed)'}: {state}"]
    for name, value in _facts(report):
        lines += _fact(name, value)
    lines += ["", "What will run here"]
    for verdict in report.verdicts:
        answer = f"{verdict.answer:<8}"
        if color:
            answer = f"\033[{COLORS[verdict.answer]}m{answer}\033[0m"
        lines.append(f"  {verdict.name:<19}{answer}{_cut(verdict.reason, WIDTH - 29)}".rstrip())
    return "\n".join(lines + _next(report, HEIGHT - len(lines)))


def _facts(report: Report) -> list[tuple[str, str]]:
    machine = report.machine
    memory = "memory unknown" if machine.memory_gib is None else f"{machine.memory_gib} GiB memory"
    disk = "unknown" if machine.free_disk_gib is None else f"{machine.free_disk_gib} GiB free"
    return [
        ("Machine", ", ".join([machine.system, machine.architecture, *machine.places])),
        ("Compute", f"{machine.cpus} {'core' if machine.cpus == 1 else 'cores'}, {memory}"),
        ("Disk", _with_path(f"{disk} at ", machine.cache_folder)),
        ("GPU", _gpu(machine.gpus, machine.driver, machine.gpu_fault)),
        ("Python", _with_path(f"{machine.python}, {machine.python_kind}, ", machine.python_path)),
        ("torch", _torch(report)),
        (
            "Kernels",
            ", ".join(f"{item.name} {item.version or 'not installed'}" for item in report.kernels) + " (optional)",
        ),
        ("Packages", _packages(report)),
    ]


def _fact(name: str, value: str) -> list[str]:
    wrapped = textwrap.wrap(value, WIDTH - 10, max_lines=3 if name == "Packages" else 1, placeholder=" ...")
    return [f"{label:<10}{text}" for label, text in zip((name, "", ""), wrapped, strict=False)]


def _gpu(gpus: tuple[Gpu, ...], driver: str | None, fault: str | None) -> str:
    if fault or not gpus:
        return fault or "none found"
    first = gpus[0]
    parts = [f"{len(gpus)} x {first.name}" if len(gpus) > 1 else first.name]
    if first.kind == "mps":
        return f"{first.name} (MPS)"
    if first.memory_gib is not None:
        parts.append(f"{first.memory_gib} GiB")
    if first.compute_capability:
        parts.append(f"capability {first.compute_capability}")
    parts.append(f"driver {driver}" if driver else "driver version unknown")
    return ", ".join(parts)


def _torch(report: Report) -> str:
    if report.torch is None:
        return "not installed"
    builds = {
        "cpu": "CPU build",
        "cuda": f"CUDA {report.torch.cuda} build",
        "rocm": "ROCm build",
        "mps": "macOS build (CPU and MPS)",
        "damaged": "damaged: torch/version.py is gone",
    }
    return f"{report.torch.version}, {builds[report.torch.build]}"


def _packages(report: Report) -> str:
    faults = [item for item in report.packages if item.problem]
    if not report.packages:
        return "unknown: the workbook is not installed for this Python"
    if not faults:
        return f"all {len(report.packages)} that are needed are here"
    missing = [item.name for item in faults if item.version is None]
    wrong = [f"{item.name} {item.version} (needs {item.required})" for item in faults if item.version is not None]
    groups = (("not right: ", wrong), ("missing: ", missing))
    return "; ".join(title + ", ".join(names) for title, names in groups if names)


def _next(report: Report, room: int) -> list[str]:
    steps = [_step(step) for step in dict.fromkeys(step for verdict in report.verdicts for step in verdict.todo)]
    lines = ["", "Next", *(line for step in steps for line in step)]
    more = "  (more: python -m helpers.environment --json)"
    while len(lines) > room:  # whole steps only: half a command is worse than none
        steps.pop()
        lines = ["", "Next", *(line for step in steps for line in step), more]
    return lines if len(lines) > 2 else []


def _step(step: str) -> list[str]:
    # A backslash at the end of a line keeps a folded command one that can be copied; so does no fold inside quotes.
    lines = [""]
    room = WIDTH - 2 if len(step) <= WIDTH - 2 else WIDTH - 4
    for word in re.findall(r"(?:\"[^\"]*\"|'[^']*'|\S)+", step):
        if lines[-1] and len(lines[-1]) + len(word) > room:
            lines[-1] += " \\"
            lines.append("  ")
        lines[-1] += f" {word}"
    return [f" {line}" for line in lines]


def _with_path(text: str, path: str) -> str:
    home = str(Path.home())
    short = "~" + path[len(home) :] if path.startswith(home + "/") else path
    room = WIDTH - 10 - len(text)
    return text + (short if len(short) <= room else "..." + short[3 - room :])


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 3] + "..."
