"""Prices: each device by every name it goes by, each price with a day and a source, and no price for anything else."""

from datetime import date

import pytest

from helpers.cloud import price

NAMES = {
    "NVIDIA H100 80GB HBM3": "H100",
    "H100": "H100",
    "h100": "H100",
    " H100 80GB HBM3 ": "H100",
    "NVIDIA A100-SXM4-80GB": "A100-80GB",
    "NVIDIA A100 80GB PCIe": "A100-80GB",
    "A100-80GB": "A100-80GB",
    "NVIDIA A100-SXM4-40GB": "A100-40GB",
    "NVIDIA H200": "H200",
    "NVIDIA L4": "L4",
    "Tesla T4": "T4",
    "CPU": "CPU",
}
# Other cards, slices of a card, and what is no card: a price for one of these would be a guess.
UNKNOWN = [
    "NVIDIA H100 NVL",
    "NVIDIA H100 PCIe",
    "NVIDIA GH200 480GB",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "A100",
    "2 cores, x86_64",
    "",
]


@pytest.mark.parametrize(("device", "name"), NAMES.items())
def test_a_device_by_any_of_its_names(device, name):
    assert price(device).name == name


@pytest.mark.parametrize("device", UNKNOWN)
def test_a_device_without_a_price_has_none(device):
    assert price(device) is None


@pytest.mark.parametrize(
    ("name", "hourly"), [("H100", 3.9492), ("H200", 4.5396), ("A100-80GB", 2.4984), ("CPU", 0.04716)]
)
def test_a_price_is_that_of_its_source(name, hourly):
    found = price(name)
    assert found.dollars_per_second * 3600 == pytest.approx(hourly, rel=1e-9)  # one rounding apart
    assert date(2026, 1, 1) <= found.date <= date.today()
    assert found.source
    assert found.per == ("physical core" if name == "CPU" else "GPU")
