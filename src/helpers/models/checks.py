"""What every sequence block says about sizes, backends and inputs that cannot be, in the same words.

Checks of one block alone stand in that block.
"""

from helpers.models.official import BACKENDS

__all__ = ["check_backend", "check_sequence", "check_sizes", "heads_of"]


def check_backend(backend):
    """ValueError if `backend` is none that the blocks know."""
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(BACKENDS)}")


def check_sizes(**sizes):
    """ValueError that names the first of `sizes` that is no positive whole number."""
    for name, value in sizes.items():
        if not (isinstance(value, int) and value > 0):
            raise ValueError(f"{name} is {value!r}; expected a positive whole number")


def heads_of(d_model, expand, headdim, ngroups):
    """How many heads of `headdim` channels there are in expand · d_model.

    Raises
    ------
    ValueError
        If `headdim` does not divide the channels, or `ngroups` the heads.
    """
    heads, rest = divmod(expand * d_model, headdim)
    if rest:
        raise ValueError(f"headdim {headdim} does not divide d_inner {expand * d_model} (expand {expand} x {d_model})")
    if heads % ngroups:
        raise ValueError(f"ngroups {ngroups} does not divide the {heads} heads")
    return heads


def check_sequence(u, d_model):
    """ValueError if `u` is not (batch, length, d_model), none of them zero."""
    if u.ndim != 3 or u.shape[-1] != d_model or 0 in u.shape:
        raise ValueError(f"input has shape {tuple(u.shape)}; expected (batch, length, {d_model}), none of them zero")
