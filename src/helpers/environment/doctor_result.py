"""What the doctor says: layers, faults and backends, and the checkup that holds them. It decides nothing and reads
nothing of the machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["Backend", "Checkup", "DoctorError", "Fault", "Layer"]


class DoctorError(Exception):
    """What should be examined is not there: no such interpreter, or no such folder."""


@dataclass(frozen=True)
class Fault:
    """One thing that is broken.

    Attributes
    ----------
    id : str
        Of the catalogue: those of `explain`, and D1, D2, … for what no log shows.
    title, cause : str
        `cause` holds the mechanism, and how it shows here.
    evidence : str
        The line or the fact that proves it.
    fix : tuple of str
        Commands and steps for this machine, in order.
    about : str
        The module that cannot be imported because of it; empty where it stops no import.
    """

    id: str
    title: str
    cause: str
    evidence: str
    fix: tuple[str, ...]
    about: str = ""


@dataclass(frozen=True)
class Layer:
    """One layer of an installation.

    Attributes
    ----------
    name : str
        `python`, `torch`, `toolkit`, `pair`, `wheels`, `extensions`, `pins`, `gpu`, `imports` or `library_path`.
    state : str
        `ok`, `note` (worth knowing, nothing is broken by it), `broken`, or `not here` (and need not be).
    summary : str
        The facts, in one line.
    faults : tuple of Fault
        What is broken, in the order in which it comes to light; empty unless the state is `broken`.
    """

    name: str
    state: str
    summary: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Backend:
    """Whether a backend of the workbook works here; `works` is None where that takes an import that was left out."""

    name: str
    works: bool | None
    reason: str


@dataclass(frozen=True, repr=False)
class Checkup:
    """What the doctor found. Its text is the screen.

    Attributes
    ----------
    layers : tuple of Layer
        In the order in which they are checked: each rests on those before it.
    backends : tuple of Backend
        `torch` and `mamba_ssm`.
    build_torch : str
        Which torch a build would see, in one sentence.
    """

    layers: tuple[Layer, ...]
    backends: tuple[Backend, ...]
    build_torch: str

    @property
    def broken(self) -> tuple[tuple[str, Fault], ...]:
        """Every fault and the name of its layer, in order."""
        return tuple((layer.name, fault) for layer in self.layers for fault in layer.faults)

    def to_dict(self) -> dict:
        """Return JSON types: `verdict` (`ok` or `broken`), `first_broken`, `layers`, `backends`, `build_torch`."""
        first = next(({"layer": name, **_plain(fault)} for name, fault in self.broken), None)
        layers = [
            {"name": item.name, "state": item.state, "summary": item.summary, "faults": [*map(_plain, item.faults)]}
            for item in self.layers
        ]
        backends = {item.name: {"works": item.works, "reason": item.reason} for item in self.backends}
        return {
            "verdict": "broken" if first else "ok",
            "first_broken": first,
            "layers": layers,
            "backends": backends,
            "build_torch": self.build_torch,
        }

    def __str__(self) -> str:
        from helpers.environment.doctor_screen import render_checkup  # here: the screen draws what this module defines

        return render_checkup(self)

    __repr__ = __str__


def _plain(fault: Fault) -> dict:
    return {name: list(value) if name == "fix" else value for name, value in asdict(fault).items() if name != "about"}
