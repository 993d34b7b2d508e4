"""A recording in, events out: two methods behind one result.

`detect_by_rule` needs no training; `detect_by_network` runs the Bi-Mamba-2 detector. Both return a `Detection` that
names its method. `annotate` hands its events to MNE, and `BraindecodeDetector` is the network with braindecode's
signature.
"""

from helpers.detection.interop import DETECTED, BraindecodeDetector, annotate
from helpers.detection.network import WeightsError, best_device, detect_by_network, load_detector
from helpers.detection.result import Detection, DetectionScore
from helpers.detection.rule import detect_by_rule

__all__ = [
    "DETECTED",
    "BraindecodeDetector",
    "Detection",
    "DetectionScore",
    "WeightsError",
    "annotate",
    "best_device",
    "detect_by_network",
    "detect_by_rule",
    "load_detector",
]
