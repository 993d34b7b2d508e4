"""`workbook count`: what it prints is what is counted, for any variant."""

import json

import pytest
from typer.testing import CliRunner

from helpers.cli import app


def count(*options):
    result = CliRunner().invoke(app, ["count", *options], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_fits_a_terminal_and_names_the_totals():
    printed = count()
    assert max(map(len, printed.splitlines())) <= 80
    total = next(line.split() for line in printed.splitlines() if line.strip().startswith("total"))
    assert total[1] == "32,606,439"
    for number in ("32,606,439", "32,643,303", "13,397,799"):
        assert number in printed.partition("Totals published")[2]
    assert "encoder.stages.3" in printed


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (["--d-state", "64"], 33_202_023),
        (["--d-state", "128"], 33_996_135),
        (["--mixing", "shared"], 20_101_191),
        (["--backend", "conv1d"], 13_397_799),
        (["--backend", "mamba_ssm"], 32_606_439),
    ],
)
def test_json_of_a_variant(options, total):
    found = json.loads(count(*options, "--json"))
    assert found["total"]["parameters"] == total
    assert sum(stage["parameters"] for stage in found["stages"]) == total
    assert [row["parameters"] for row in found["published"]] == [32_606_439, 32_643_303, 13_397_799]
    assert str(found["config"][options[0].strip("-").replace("-", "_")]) == options[1]


def test_a_stand_in_is_called_one(monkeypatch):
    monkeypatch.setenv("SEIZURE_MAMBA_FORCE_FALLBACK", "1")
    printed = count()
    assert "NO Mamba-2" in printed.splitlines()[0]
    assert "Bi-Mamba-2 layer" not in printed
    assert "NO Mamba-2" not in count("--backend", "torch")
