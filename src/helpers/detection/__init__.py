"""A recording in, events out: two methods behind one result.

`detect_by_rule` needs no training; `detect_by_network` runs the Bi-Mamba-2 detector. Both return a `Detection` that
names its method. `evaluate` scores them on many recordings, `annotate` hands events to MNE, and
`BraindecodeDetector` is the network with braindecode's signature.
"""

from helpers.detection.evaluation import Evaluation, evaluate
from helpers.detection.interop import DETECTED, BraindecodeDetector, annotate
from helpers.detection.network import WeightsError, best_device, detect_by_network, load_detector
from helpers.detection.result import Detection, DetectionScore
from helpers.detection.rule import detect_by_rule
from helpers.detection.shipped import SHIPPED, shipped_weights

__all__ = [
    "DETECTED",
    "SHIPPED",
    "BraindecodeDetector",
    "Detection",
    "DetectionScore",
    "Evaluation",
    "WeightsError",
    "annotate",
    "best_device",
    "detect_by_network",
    "detect_by_rule",
    "evaluate",
    "load_detector",
    "shipped_weights",
]
