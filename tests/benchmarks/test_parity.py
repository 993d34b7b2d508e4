"""`measure_parity`: what it compares, and that a wrong block shows."""

import pytest
import torch

from helpers.benchmarks.parity import Parity, measure_parity, parity_table
from helpers.models import Mamba2

SIZES = {"d_states": (5, 16), "lengths": (1, 7, 33), "d_model": 64, "batch": 1, "device": "cpu"}


def test_the_torch_backend_rounds_as_its_dtype_does():
    rows = measure_parity(**SIZES)
    assert len(rows) == 2 * 2 * 2 * 3
    assert {row.backend for row in rows} == {"torch"}
    for row in rows:
        low, high = (1e-9, 1e-5) if row.dtype == "float32" else (1e-4, 5e-2)  # 24 and 8 bits of mantissa
        assert low < row.output < high, row
        assert low < row.gradient < 10 * high, row  # at 1 step dt_bias gets two terms that nearly cancel
        assert row.worst != "output"
    assert {row.direction for row in rows} == {"forward", "backward"}


def test_a_wrong_block_shows(monkeypatch):
    right = Mamba2.forward

    def wrong(block, u, *carried):
        y = right(block, u, *carried)
        return y if u.dtype == torch.float64 else torch.cat([y[:, :-1], 1.01 * y[:, -1:]], dim=1)

    monkeypatch.setattr(Mamba2, "forward", wrong)
    rows = measure_parity(**SIZES, dtypes=("float32",))
    assert all(row.output > 1e-4 and row.gradient > 1e-4 for row in rows)


def test_the_table_keeps_the_worst_of_a_group():
    rows = [
        Parity(16, "bfloat16", "forward", 7, "torch", 2e-2, 3e-2, "D"),
        Parity(16, "float32", "forward", 7, "torch", 2e-7, 3e-6, "A_log"),
        Parity(16, "float32", "backward", 9, "torch", 4e-7, 1e-6, "D"),
        Parity(16, "float32", "forward", 7, "mamba_ssm", 1e-4, 2e-3, "dt_bias"),
    ]
    lines = [line.split() for line in parity_table(rows).splitlines()]
    assert lines[0] == ["d_state", "dtype", "backend", "output", "worst", "gradient"]
    assert lines[1][:6] == ["16", "float32", "mamba_ssm", "1.0e-04", "2.0e-03", "dt_bias,"]
    assert lines[2][:6] == ["16", "float32", "torch", "4.0e-07", "3.0e-06", "A_log,"]
    assert lines[3][:3] == ["16", "bfloat16", "torch"]


@pytest.mark.gpu
def test_mamba_ssm_is_as_close_as_its_formats():
    rows = measure_parity(d_states=(16,), lengths=(1, 63, 961), d_model=128)
    assert {row.backend for row in rows} == {"torch", "mamba_ssm"}
    for row in rows:
        bound = 5e-2 if row.dtype == "bfloat16" else 5e-3 if row.backend == "mamba_ssm" else 1e-5
        assert row.output < bound, row
        assert row.gradient < 10 * bound, row
