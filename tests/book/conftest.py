"""The book, built once for all tests of its pages."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """Build the book from the repository root into a temporary folder, warnings as errors."""
    if importlib.util.find_spec("jupyter_book") is None:
        pytest.skip('jupyter-book is not installed: pip install -e ".[book]"')
    out = tmp_path_factory.mktemp("book")
    code = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["build", ".", "--path-output", str(out), "-W", "-n", "--keep-going"]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True)
    return done, out / "_build" / "html"
