"""The measurements behind every published figure: run them with ``workbook bench``.

Each prints what it measured, on what, and how often. Nothing here is used by the other packages.
"""

from helpers.benchmarks.cpu import measure_cpu
from helpers.benchmarks.layer import measure_layer, missing_peer
from helpers.benchmarks.measurement import Measurement

__all__ = ["Measurement", "measure_cpu", "measure_layer", "missing_peer"]
