"""The models: Mamba, Mamba-2 with its bidirectional layer, the scans inside them, and the seizure detector.

Arrays in, arrays out; plain torch on any device. Nothing here reads a file or knows what a recording is.
"""

from helpers.models.bimamba2 import BiMamba2
from helpers.models.detector import SeizureDetector, parameters_by_stage
from helpers.models.gated_norm import GatedRMSNorm
from helpers.models.hydra import Hydra
from helpers.models.inference import FusedDetector, fuse_for_inference
from helpers.models.mamba import Mamba
from helpers.models.mamba2 import Mamba2
from helpers.models.rescnn import ResCNN
from helpers.models.selective_scan import selective_scan, selective_scan_recurrence
from helpers.models.ssd import ssd_chunked, ssd_recurrence
from helpers.models.stand_in import Conv1dStandIn, StandInWarning, stand_in_forced
from helpers.models.unet import Decoder, Encoder
from helpers.models.vmamba import SS2D, VSSBlock

__all__ = [
    "SS2D",
    "BiMamba2",
    "Conv1dStandIn",
    "Decoder",
    "Encoder",
    "FusedDetector",
    "GatedRMSNorm",
    "Hydra",
    "Mamba",
    "Mamba2",
    "ResCNN",
    "SeizureDetector",
    "StandInWarning",
    "VSSBlock",
    "fuse_for_inference",
    "parameters_by_stage",
    "selective_scan",
    "selective_scan_recurrence",
    "ssd_chunked",
    "ssd_recurrence",
    "stand_in_forced",
]
