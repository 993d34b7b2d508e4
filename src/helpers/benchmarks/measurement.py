"""One measured figure, as `workbook bench` prints it. It measures nothing itself."""

from dataclasses import dataclass
from statistics import median

__all__ = ["Measurement", "summary"]


@dataclass(frozen=True)
class Measurement:
    """One figure: its name, the median with the smallest and largest value, the unit, and how often it was measured."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    repeats: int


def summary(name, values, unit):
    """`Measurement` of a list of values."""
    return Measurement(name, median(values), min(values), max(values), unit, len(values))
