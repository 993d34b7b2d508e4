"""The interpreter of the floor, Python 3.10 with the base install: a minute to make, so once for every file."""

import shutil

import pytest
from test_python310 import REPOSITORY, find_python310, no_index_reached, run


@pytest.fixture(scope="session")
def python310(tmp_path_factory):
    """Path of that interpreter; skips where there is no 3.10, or no index to install from."""
    base = find_python310()
    if base is None:
        pytest.skip("no working Python 3.10 on PATH, in ~/.pyenv/versions or known to uv")
    folder = tmp_path_factory.mktemp("python310")
    run(base, "-m", "venv", folder / "venv", timeout=120, check=True)
    python = folder / "venv/bin/python"
    source = folder / "source"  # a copy, so that building leaves nothing in the repository
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("src", "weights"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = run(python, "-m", "pip", "install", "--retries", "1", source, timeout=600)
    if done.returncode and no_index_reached(done.stdout + done.stderr):
        pytest.skip("pip reached no package index")
    assert done.returncode == 0, done.stdout + done.stderr
    return python
