"""What a rented GPU costs, by a dated table (`prices.toml`): nothing is asked over the network, nothing is guessed."""

from dataclasses import dataclass
from datetime import date
from importlib import resources

import tomllib

__all__ = ["Price", "price"]


@dataclass(frozen=True)
class Price:
    """What Modal charges for one thing.

    Attributes
    ----------
    name : str
        As Modal calls it, ``"H100"``.
    dollars_per_second : float
        US dollars; the base price, without a choice of region and with preemption.
    per : str
        What is charged for: one ``"GPU"``, or one ``"physical core"``.
    date : datetime.date
        Day of the price.
    source : str
        Who says so.
    """

    name: str
    dollars_per_second: float
    per: str
    date: date
    source: str


def price(device_or_gpu):
    """The price of a device, by the name that Modal or PyTorch gives it.

    Parameters
    ----------
    device_or_gpu : str
        ``"H100"``, ``"NVIDIA H100 80GB HBM3"``, or ``"CPU"`` for one physical core.

    Returns
    -------
    Price or None
        None where the table has no price. Another card of the same family, or a slice of a card, is another device.
    """
    return _BY_NAME.get(device_or_gpu.strip().removeprefix("NVIDIA ").upper())


def _read():
    table = tomllib.loads(resources.files("helpers.cloud").joinpath("prices.toml").read_text(encoding="utf-8"))
    for row in table["prices"]:
        found = Price(row["name"], row["usd"] / row["seconds"], row["per"], row["date"], row["source"])
        yield from ((name.upper(), found) for name in [row["name"], *row["devices"]])


_BY_NAME = dict(_read())
