"""The Jetson patch: whether mamba-ssm and causal-conv1d fit each other, the right cure, and the patch if it must be.

`checkup` looks and changes nothing, `edits` turns the text of a source file into its patched form and back, `patch`
writes both files of a release or neither. Nothing here imports torch or one of the packages into this process.
"""

from helpers.environment.jetson.checkup import Checkup, check
from helpers.environment.jetson.contract import Contract, read_contract
from helpers.environment.jetson.edits import UnknownSource, original, patched, state
from helpers.environment.jetson.patch import PatchError, apply, revert

__all__ = [
    "Checkup",
    "Contract",
    "PatchError",
    "UnknownSource",
    "apply",
    "check",
    "original",
    "patched",
    "read_contract",
    "revert",
    "state",
]
