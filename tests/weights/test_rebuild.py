"""The shipped weights and their card: what the card says is what was measured, and the command that makes them runs."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights"
sys.path.insert(0, str(WEIGHTS))

import rebuild  # noqa: E402

from helpers.training import load_config  # noqa: E402

FIGURES = json.loads((WEIGHTS / "synthetic.json").read_text())


def test_the_card_shows_the_figures_of_this_very_file():
    content = (WEIGHTS / "synthetic.pt").read_bytes()
    assert len(content) == FIGURES["bytes"] <= 4e6
    digest = hashlib.sha256(content).hexdigest()[:12]
    for name in rebuild.TITLES:
        network, rule = FIGURES[name]
        assert network["method"].endswith(f"weights synthetic.pt, sha256 {digest})")
        assert rule["method"].startswith("rule")
        assert network["recordings"] == rule["recordings"]
    assert FIGURES["drawn"] == rebuild.DRAWN
    assert rebuild.tables(FIGURES) in (WEIGHTS / "README.md").read_text()


def test_what_the_card_says_in_words_is_true():
    network, rule = FIGURES["unseen"]
    assert network["auroc"] > 0.99 > 0.9 > rule["auroc"]
    real, rule = FIGURES["absence"]
    assert (real["overlap"]["found"], real["overlap"]["reference"]) == (0, 3)
    assert rule["overlap"]["found"] == 3
    card = " ".join((WEIGHTS / "README.md").read_text().split())
    assert f"{FIGURES['parameters']:,} parameters" in card


def test_the_tables_of_a_card_are_written_from_its_figures(tmp_path):
    for name in ("synthetic.json", "README.md"):
        shutil.copy(WEIGHTS / name, tmp_path)
    figures = json.loads((tmp_path / "synthetic.json").read_text())
    figures["unseen"][0]["auroc"] = 0.123456
    (tmp_path / "synthetic.json").write_text(json.dumps(figures))
    command = [sys.executable, WEIGHTS / "rebuild.py", "--card", "--output", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    assert "| AUROC over seconds | 0.123 |" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("no marks here")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "0 places for the tables" in done.stderr


def test_weights_are_trained_and_scored_by_one_command(tmp_path, monkeypatch):
    """The same path with a small detector and few minutes of synthetic EEG, the unseen ones in the real one's place."""
    config = load_config("smoke").model_copy(update={"epochs": 1, "windows_per_epoch": 16})
    drawn = {
        "training": {"subjects": 6, "minutes": 5, "seed": 5},
        "unseen": {"subjects": 2, "minutes": 5, "seed": 6},
    }
    monkeypatch.setattr(rebuild, "fetch", lambda name: next((tmp_path / "unseen").rglob("*.edf")))
    weights, bars = tmp_path / "synthetic.pt", []
    rebuild.train(weights, config, drawn, tmp_path, lambda text: bars.append(text) or (lambda done, total: None))
    figures = rebuild.score(weights, drawn, tmp_path, lambda text: bars.append(text) or (lambda done, total: None))
    assert [one["recordings"] for one in figures["unseen"]] == [2, 2]
    assert [one["recordings"] for one in figures["absence"]] == [1, 1]
    assert figures["training"]["config"]["windows_per_epoch"] == 16
    assert figures["validation"]["step"] == 2
    assert figures["parameters"] == 77_837
    assert "this detector" in rebuild.tables(json.loads(json.dumps(figures)))
    assert len(bars) == len(set(bars)) == 6


@pytest.mark.parametrize("word", ["--output", "--config", "--score", "--card", "--subjects"])
def test_help_names(word):
    done = subprocess.run(
        [sys.executable, WEIGHTS / "rebuild.py", "--help"], capture_output=True, text=True, check=True
    )
    assert word in done.stdout
