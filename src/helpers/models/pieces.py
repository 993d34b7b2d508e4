"""Work on long sequences a piece at a time, so that what is computed in between stays small.

It cuts lengths into slices; it knows nothing of what is done with them.
"""

__all__ = ["pieces"]

_NUMBERS = {"cpu": 2**19}  # 2 MB in float32: what is computed in between stays in a cache
_NUMBERS_ELSEWHERE = 2**26  # a GPU wants few large launches; this only keeps memory flat


def pieces(length, numbers_a_step, device, multiple=1):
    """Slices that cut `length` steps into pieces, the last one perhaps shorter.

    Parameters
    ----------
    length : int
        Steps in all.
    numbers_a_step : int
        Size of one step of the largest tensor, batch included.
    device : torch.device
        Where the tensors are.
    multiple : int
        Each piece but the last is a multiple of this many steps.

    Returns
    -------
    list of slice
    """
    numbers = _NUMBERS.get(device.type, _NUMBERS_ELSEWHERE)
    steps = multiple * max(1, numbers // (numbers_a_step * multiple))
    return [slice(start, min(start + steps, length)) for start in range(0, length, steps)]
