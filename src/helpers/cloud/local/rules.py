"""Rules of Modal's service that its client leaves to it: from Modal's documentation, in our words.

The client accepts ``timeout=108000`` or ``gpu="RTX4090"`` and sends them; the service refuses. Its exact words are not
known here, so every refusal is marked ``[model]``.
"""

from grpclib import GRPCError, Status

from helpers.cloud.limits import LONGEST_TIMEOUT, SHORTEST_TIMEOUT, TimeoutRuleError, checked_timeout

__all__ = ["refuse"]

# modal.com/docs/guide/gpu; A10G and ANY are older names.
_GPUS = {"T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB", "RTX-PRO-6000"}
_GPUS |= {"H100", "H100!", "H200", "B200", "B200+", "ANY"}
_MOST_RETRIES = 10


def refuse(function, gpus):
    """Raise what the service would answer to a Function that it does not take.

    Parameters
    ----------
    function : modal_proto.api_pb2.Function
    gpus : list of modal_proto.api_pb2.GPUConfig

    Raises
    ------
    GRPCError
    """
    try:
        checked_timeout(function.timeout_secs)
    except TimeoutRuleError:
        _no(
            f"timeout of {function.function_name} must be {SHORTEST_TIMEOUT} s to {LONGEST_TIMEOUT} s (24 h), "
            f"not {function.timeout_secs} s"
        )
    if function.retry_policy.retries > _MOST_RETRIES:
        _no(f"at most {_MOST_RETRIES} retries, not {function.retry_policy.retries}")
    for gpu in gpus:
        if gpu.gpu_type and gpu.gpu_type not in _GPUS:
            _no(f"no GPU {gpu.gpu_type}; there are {', '.join(sorted(_GPUS))}")
        most = 4 if gpu.gpu_type in ("A10", "A10G") else 8
        if gpu.count > most:
            _no(f"at most {most} GPUs {gpu.gpu_type} in one container, not {gpu.count}")


def _no(words):
    raise GRPCError(Status.INVALID_ARGUMENT, f"[model] {words}")
