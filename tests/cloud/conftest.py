"""The app of env/modal against the model of Modal: run by the client's own command, or only recorded."""

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-4f1c9a77b2"  # in every Secret of the made-up workspace; it must turn up nowhere
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")


@pytest.fixture(scope="session")
def local_modal():
    """`LocalModal` with the app's Secret."""
    pytest.importorskip("modal")
    from helpers.cloud import LocalModal

    def begin(**options):
        return LocalModal(**{"secrets": {"aws-s3-secret": dict.fromkeys(KEYS, CANARY)}, **options})

    return begin


LIGHT = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "numpy", "mne", "lightning", "pydantic", "yaml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="session")
def modal_run(tmp_path_factory):
    """Run ``modal run`` in its own process, which has what the extra ``modal`` installs and neither torch nor NumPy.

    The secret must not be in what it prints.
    """
    light = tmp_path_factory.mktemp("light")
    (light / "sitecustomize.py").write_text(LIGHT)

    def run(modal, *arguments, app=ROOT / "env" / "modal" / "app.py", code=0, detach=False):
        start = [sys.executable, "-m", "modal", "run", *(["--detach"] if detach else []), str(app)]
        command = [*start, *map(str, arguments)]
        environment = modal.environment()
        environment["PYTHONPATH"] = os.pathsep.join([str(light), *filter(None, [environment.get("PYTHONPATH")])])
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert CANARY not in said
        return said

    return run


@pytest.fixture
def checkout(tmp_path):
    """A checkout of what the app reads, with a chapter folder of its own; the app's text may be changed."""

    def make(change=lambda text: text):
        (tmp_path / "env" / "modal").mkdir(parents=True)
        (tmp_path / "notebooks").mkdir()
        for name in ("pyproject.toml", "weights", "env/local"):
            (tmp_path / name).symlink_to(ROOT / name)
        app = tmp_path / "env" / "modal" / "app.py"
        shutil.copy(ROOT / "env" / "modal" / "app.py", app)
        before = app.read_text()
        app.write_text(change(before))
        return app

    return make


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """The app as a module of this process, as if it were a container: its folders, and commits that are counted."""

    def start(*arguments):
        pytest.importorskip("modal")
        monkeypatch.setattr(sys, "argv", ["modal", *arguments])
        spec = importlib.util.spec_from_file_location("app_inside", ROOT / "env" / "modal" / "app.py")
        app = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(app)
        app.DATA, app.DRAWN, app.STORE, app.RUNS = (tmp_path / name for name in ("data", "drawn", "store", "runs"))
        app.results = type(
            "Results", (), {"commits": 0, "commit": lambda self: setattr(self, "commits", self.commits + 1)}
        )()
        return app

    return start


@pytest.fixture
def record(local_modal, monkeypatch):
    """Declare an app, and record it in this process, without running anything: a second less than ``modal run``."""

    def declared(app=ROOT / "env" / "modal" / "app.py", *arguments):
        import modal

        with local_modal(run=False) as recorder:
            for name, value in recorder.client_environment().items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr(sys, "argv", ["modal", *arguments])
            found = runpy.run_path(str(app), run_name="app")["app"]
            with modal.Client.from_credentials("ak-model", "as-model") as client, found.run(client=client):
                pass
            return recorder

    return declared
