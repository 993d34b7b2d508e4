"""How far the backends of a Mamba-2 block are from the exact answer: outputs and gradients, by state size and length.

The exact answer is the torch backend in float64 from the same weights, on the same device. It measures rounding, not
speed. mamba_ssm's products take TF32, 10 bits of the mantissa, where the input is float32: there its error is that
format's.
"""

from dataclasses import dataclass

import torch

from helpers.models import BiMamba2, Mamba2

__all__ = ["Parity", "measure_parity", "parity_table"]


@dataclass(frozen=True)
class Parity:
    """The rounding of one backend on one input, each error relative to the largest exact value of its tensor.

    Attributes
    ----------
    d_state : int
    dtype : str
        "float32", or "bfloat16": float32 weights under autocast.
    direction : str
        "forward" or "backward" in time.
    length : int
        Steps.
    backend : str
        "torch" or "mamba_ssm".
    output : float
        Error of the output.
    gradient : float
        Error of the worst gradient.
    worst : str
        Which one that is: "u", the input, or a parameter's name.
    """

    d_state: int
    dtype: str
    direction: str
    length: int
    backend: str
    output: float
    gradient: float
    worst: str


def measure_parity(
    d_states=(16, 64, 128),
    lengths=(1, 63, 960, 961, 4099),
    dtypes=("float32", "bfloat16"),
    d_model=512,
    batch=2,
    device=None,
    seed=0,
):
    """Compare each backend with float64, in both directions of a `BiMamba2` layer.

    Parameters
    ----------
    d_states, lengths : sequence of int
        Each pair is measured. A fresh process tunes mamba_ssm's kernels, for a minute or so, once for each d_state and
        dtype, never for a length.
    dtypes : sequence of {"float32", "bfloat16"}
    d_model : int
        A multiple of 32, so that the heads, 64 wide, fill d_inner.
    batch : int
    device : str, optional
        Default: "cuda" where there is one, else "cpu". On a CPU there is the torch backend alone.
    seed : int
        Of weights and inputs.

    Returns
    -------
    list of Parity
        The torch backend's row before mamba_ssm's.

    Raises
    ------
    RuntimeError
        On a GPU without a mamba_ssm that can be used.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    backends = ("torch", "mamba_ssm") if device == "cuda" else ("torch",)
    rows = []
    for dtype in dtypes:
        for d_state in d_states:
            torch.manual_seed(seed)
            layer = BiMamba2(d_model, d_state=d_state, backend="torch").to(device)
            for direction, block in (("forward", layer.forward_ssm), ("backward", layer.backward_ssm)):
                for length in lengths:
                    u, weight = torch.randn(2, batch, length, d_model, device=device)
                    if direction == "backward":
                        u, weight = u.flip(1), weight.flip(1)
                    exact = _computed(_copy(block, d_state, "torch").double(), u.double(), weight.double(), "float64")
                    for backend in backends:
                        found = _computed(_copy(block, d_state, backend), u, weight, dtype)
                        errors = {name: _error(found[name], exact[name]) for name in exact}
                        output = errors.pop("output")
                        worst = max(errors, key=errors.get)
                        rows.append(Parity(d_state, dtype, direction, length, backend, output, errors[worst], worst))
    return rows


def parity_table(rows):
    """Lines of text, one for each d_state, dtype and backend: the largest errors over all lengths and directions."""
    lines = [f"{'d_state':>7}  {'dtype':9}  {'backend':9}  {'output':>8}  {'worst gradient':>14}"]
    groups = {}
    for row in rows:
        groups.setdefault((row.d_state, row.dtype, row.backend), []).append(row)
    for (d_state, dtype, backend), group in sorted(groups.items(), key=lambda item: (item[0][1] != "float32", item[0])):
        output, worst = max(row.output for row in group), max(group, key=lambda row: row.gradient)
        lines.append(
            f"{d_state:7d}  {dtype:9}  {backend:9}  {output:8.1e}  {worst.gradient:14.1e}  {worst.worst}, "
            f"{worst.length} steps {worst.direction}"
        )
    return "\n".join(lines)


def _copy(block, d_state, backend):
    made = Mamba2(block.d_model, d_state=d_state, backend=backend).to(block.D.device)
    made.load_state_dict(block.state_dict(), strict=True)
    return made


def _computed(block, u, weight, dtype):
    """Output and gradients by name, of a loss that weighs each output differently."""
    u = u.clone().requires_grad_()
    with torch.autocast(u.device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        y = block(u)
    names, parameters = zip(*block.named_parameters(), strict=True)
    gradients = torch.autograd.grad((y * weight).sum(), (u, *parameters))
    return {"output": y.detach(), "u": gradients[0], **dict(zip(names, gradients[1:], strict=True))}


def _error(found, exact):
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()
