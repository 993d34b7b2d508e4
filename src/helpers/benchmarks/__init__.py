"""The measurements behind every published figure: run them with ``workbook bench``.

Each prints what it measured, on what, and how often. Nothing here is used by the other packages.
"""

from helpers.benchmarks.cpu import Measurement, measure_cpu

__all__ = ["Measurement", "measure_cpu"]
