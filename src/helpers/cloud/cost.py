"""What a training on a rented GPU would cost, before it is started: measured throughput times a dated price.

An estimate, and no bill: reading is taken to be faster than computing, and memory, storage and network are left out.
`modal billing rates` has today's prices.
"""

from dataclasses import dataclass
from datetime import date
from importlib import resources

import tomllib

from helpers.cloud.prices import price

__all__ = ["BALANCED_WINDOWS", "Estimate", "Throughput", "cost_table", "estimate", "throughput"]

BALANCED_WINDOWS = 50_000
"""Windows of one epoch where a configuration takes the whole balanced set: what ``full`` counts with."""

_CORES = 8  # that env/modal/app.py asks for beside the GPU
_START = 180.0  # s until the first step: imports, and kernels that are compiled and tuned; a guess on the long side
_VALIDATION = 0.3  # windows of the validation for each window of training: a guess


@dataclass(frozen=True)
class Throughput:
    """How fast the reference detector was on a GPU.

    Attributes
    ----------
    gpu : str
    training, inference : float
        Windows of 60 s a second.
    date : datetime.date
    source : str
    """

    gpu: str
    training: float
    inference: float
    date: date
    source: str


@dataclass(frozen=True)
class Estimate:
    """Time and cost of one training.

    Attributes
    ----------
    seconds : float
    gpu_dollars, core_dollars : float
        US dollars for the GPU and for the processor cores beside it.
    """

    seconds: float
    gpu_dollars: float
    core_dollars: float

    @property
    def dollars(self):
        """Both together."""
        return self.gpu_dollars + self.core_dollars


def throughput(gpu):
    """What was measured on a GPU.

    Parameters
    ----------
    gpu : str
        As Modal calls it.

    Returns
    -------
    Throughput or None
        None where nothing was measured.
    """
    text = resources.files("helpers.cloud").joinpath("throughput.toml").read_text(encoding="utf-8")
    for row in tomllib.loads(text)["rows"]:
        if row["gpu"] == gpu.rstrip("!"):
            return Throughput(**row)
    return None


def estimate(gpu, epochs, windows_per_epoch):
    """Time and cost of training the reference detector on one GPU.

    Parameters
    ----------
    gpu : str
        As Modal calls it. For several in one container there is no measurement.
    epochs, windows_per_epoch : int

    Returns
    -------
    Estimate or None
        None where the price or the throughput is not known.
    """
    speed, rate, core = throughput(gpu), price(gpu.rstrip("!")), price("CPU")
    if speed is None or rate is None:
        return None
    epoch = windows_per_epoch / speed.training + _VALIDATION * windows_per_epoch / speed.inference
    seconds = _START + epochs * epoch
    return Estimate(seconds, seconds * rate.dollars_per_second, seconds * _CORES * core.dollars_per_second)


def cost_table(gpu, epochs, windows_per_epoch, patience):
    """The estimates for a configuration as text: one epoch, the earliest stop, all epochs, and the field notes beside.

    Parameters
    ----------
    gpu : str
    epochs : int
    windows_per_epoch : int or None
        None for the whole balanced set.
    patience : int
        Epochs without a better validation after which a training stops.

    Returns
    -------
    str
    """
    windows = windows_per_epoch or BALANCED_WINDOWS
    lines = [f"{epochs} epochs of {windows:,} windows on {gpu}, as the reference detector would take"]
    if estimate(gpu, 1, windows) is None:
        lines += [_unknown(gpu)]
    else:
        shortest = min(patience + 1, epochs)
        for name, count in (("one epoch", 1), (f"stopped as early as can be, {shortest}", shortest), ("all", epochs)):
            found = estimate(gpu, count, windows)
            lines.append(f"  {name:32s} {found.seconds / 60:7.1f} min  ${found.dollars:8.2f}")
        speed, rate = throughput(gpu), price(gpu.rstrip("!"))
        lines += [
            f"{speed.training:g} windows a second in training ({speed.source}, {speed.date}).",
            f"${rate.dollars_per_second:.6f} a second ({rate.source}, {rate.date}), and {_CORES} cores.",
            f"Taken for granted: {_START:g} s until the first step, validation on {_VALIDATION:g} as many windows.",
            "A smaller detector costs less than this.",
        ]
    return "\n".join([*lines, *_notes()])


def _unknown(gpu):
    rate = price(gpu.rstrip("!"))
    charged = f"${rate.dollars_per_second * 3600:.2f} an hour on {rate.date}" if rate else "no price here"
    return f"  {gpu}: {charged}, and nothing was measured on it. See modal billing rates, or ask for H100."


def _notes():
    """What field note A expected, and what its hours cost by the table of prices."""
    rate = price("A100-80GB")
    hours = 25
    return [
        "Field note A (January 2025), A100-80GB: one epoch 15 min and $1.40; 100 epochs 25 h and $140.",
        f"  25 h of one A100-80GB at the price of {rate.date}: ${hours * 3600 * rate.dollars_per_second:.2f}",
    ]
