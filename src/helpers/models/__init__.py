"""The models: Mamba, Mamba-2 with its bidirectional layer, the scans inside them, and the seizure detector.

Arrays in, arrays out; plain torch on any device. Nothing here reads a file or knows what a recording is.
"""

from helpers.models.bimamba2 import BiMamba2
from helpers.models.counting import Stage, Total, count_stages, published_totals, stages_of
from helpers.models.detector import SeizureDetector, parameters_by_stage
from helpers.models.gated_norm import GatedRMSNorm
from helpers.models.hydra import Hydra
from helpers.models.inference import FusedDetector, fuse_for_inference
from helpers.models.mamba import Mamba
from helpers.models.mamba2 import Mamba2, Mamba2State
from helpers.models.receptive_field import ReceptiveField, influence, receptive_field, receptive_fields
from helpers.models.reference_faults import parameter_groups, reinitialize_globally
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
    "Mamba2State",
    "ReceptiveField",
    "ResCNN",
    "SeizureDetector",
    "Stage",
    "StandInWarning",
    "Total",
    "VSSBlock",
    "count_stages",
    "fuse_for_inference",
    "influence",
    "parameter_groups",
    "parameters_by_stage",
    "published_totals",
    "receptive_field",
    "receptive_fields",
    "reinitialize_globally",
    "selective_scan",
    "selective_scan_recurrence",
    "ssd_chunked",
    "ssd_recurrence",
    "stages_of",
    "stand_in_forced",
]
