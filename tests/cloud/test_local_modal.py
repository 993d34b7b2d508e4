"""The model of Modal: calls, attempts, what a container sees, what the service refuses, and what is recorded."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time

import pytest

modal = pytest.importorskip("modal")

from helpers.cloud import LocalModal  # noqa: E402
from helpers.cloud.__main__ import main  # noqa: E402
from helpers.cloud.local.containers import why_no_containers  # noqa: E402

SCALE = """
import modal

app = modal.App()


@app.cls()
class Scale:
    by: int = modal.parameter(default=3)

    @modal.method()
    def of(self, x):
        return self.by * x
"""
SECRET = "not-to-be-seen-9d2c"

runs = pytest.mark.skipif(bool(why_no_containers()), reason=str(why_no_containers()))


@pytest.fixture
def app():
    return modal.App("tests", include_source=False)


@pytest.fixture
def running(monkeypatch):
    """Run an app against a model, in this process."""

    @contextlib.contextmanager
    def run(app, **options):
        with LocalModal(**options) as service:
            for name, value in service.client_environment().items():
                monkeypatch.setenv(name, value)
            with modal.Client.from_credentials("ak-model", "as-model") as client, app.run(client=client):
                yield service

    return run


@runs
@pytest.mark.parametrize("gpu", [None, "L4", ["H100", "A100"]])
def test_a_container_sees_a_gpu_only_where_one_is_asked_for(app, running, monkeypatch, gpu):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")

    @app.function(serialized=True, gpu=gpu)
    def visible():
        import os

        return os.environ["CUDA_VISIBLE_DEVICES"]

    with running(app):
        assert visible.remote() == ("7" if gpu else "")


@runs
def test_calls_of_every_kind(app, running, tmp_path, monkeypatch):
    @app.function(serialized=True)
    def double(x):
        print(f"doubling {x}")
        return 2 * x

    @app.function(serialized=True)
    def refuse():
        raise ValueError("no such recording")

    (tmp_path / "wb_scale.py").write_text(SCALE)
    monkeypatch.syspath_prepend(tmp_path)
    scale = importlib.import_module("wb_scale")
    app.include(scale.app)
    with running(app) as service:
        assert double.remote(4) == 8
        assert double.spawn(5).get() == 10
        assert list(double.map([1, 2])) == [2, 4]
        assert scale.Scale(by=7).of.remote(2) == 14
        with pytest.raises(ValueError, match="no such recording"):
            refuse.remote()
    assert service.missing == []
    assert {f"doubling {x}\n" for x in (4, 5, 1, 2)} < set(service.logs)
    assert [attempt["status"] for attempt in service.attempts] == ["ok"] * 5 + ["error"]


@runs
def test_attempts_follow_until_one_succeeds_or_none_is_left(app, running, tmp_path):
    volume = modal.Volume.from_name("kept", create_if_missing=True)
    options = {"serialized": True, "volumes": {"/kept": volume}, "retries": modal.Retries(max_retries=2)}

    @app.function(timeout=86_400, **options)
    def third_time(name):
        import os
        from pathlib import Path

        path = Path("/kept", name)
        count = len(path.read_text()) if path.exists() else 0
        path.write_text("." * (count + 1))
        volume.commit()
        if count == 0:
            os._exit(9)
        if count == 1:
            raise OSError("again")
        return count

    @app.function(timeout=1250, **options)
    def never():
        import time

        time.sleep(3600)

    with running(app, volumes=tmp_path, time_scale=4e-4) as service:
        assert third_time.remote("a") == 2
        began = time.monotonic()
        with pytest.raises(modal.exception.FunctionTimeoutError):
            never.remote()
        assert time.monotonic() - began < 60
    assert (tmp_path / "kept" / "a").read_text() == "..."
    assert len(service.requests("VolumeCommit")) == 3
    statuses = [attempt["status"] for attempt in service.attempts]
    assert statuses == ["died 9", "error", "ok", "timeout", "timeout", "timeout"]


@runs
def test_a_clock_of_the_test(app, running):
    """Time passes when the container prints, and not while it sleeps."""

    @app.function(serialized=True, timeout=100, image=modal.Image.debian_slim())
    def tick(times):
        import time

        for _ in range(times):
            print("tick", flush=True)
            time.sleep(0.1)
        return times

    ticks = []
    with running(app, clock=lambda: 40 * len(ticks[0].logs) if ticks else 0) as service:
        ticks.append(service)
        assert tick.remote(2) == 2
        with pytest.raises(modal.exception.FunctionTimeoutError):
            tick.remote(9)
    assert [attempt["status"] for attempt in service.attempts] == ["ok", "timeout"]
    assert 5 <= len(service.logs) <= 7  # the third tick ends it


@runs
def test_what_a_container_sees(app, running, tmp_path, monkeypatch):
    (tmp_path / "wb_mounted.py").write_text("NAME = 'mounted'\n")
    (tmp_path / "wb_forgotten.py").write_text("NAME = 'forgotten'\n")
    (tmp_path / "bucket" / "edf").mkdir(parents=True)
    (tmp_path / "bucket" / "edf" / "night.edf").write_text("signal")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OWN_TOKEN", SECRET)
    bucket = modal.CloudBucketMount("patients", key_prefix="edf/", secret=modal.Secret.from_name("aws"), read_only=True)
    image = modal.Image.debian_slim().env({"WORD": "of the image"}).add_local_python_source("wb_mounted")

    @app.function(
        serialized=True,
        name="look",
        image=image,
        volumes={"/data": bucket},
        secrets=[modal.Secret.from_name("hub", required_keys=["HUB"])],
    )
    def look(outside):
        import importlib
        import os
        import sys
        from pathlib import Path

        import modal

        def outcome(act):
            try:
                return act()
            except Exception as fault:
                return type(fault).__name__

        return {
            "mounted": importlib.import_module("wb_mounted").NAME,
            "forgotten": outcome(lambda: importlib.import_module("wb_forgotten")),
            "outside": Path(outside).exists(),
            "where": str(Path.cwd()),
            "data": Path("/data/night.edf").read_text(),
            "write": outcome(lambda: Path("/data/night.edf").write_text("")),
            "break": outcome(lambda: Path(sys.prefix, "broken.txt").write_text("")),
            "environment": dict(os.environ),
            "local": modal.is_local(),
        }

    secrets = {"aws": {"KEY": SECRET}, "hub": {"HUB": "short"}}
    with running(app, secrets=secrets, buckets={"patients": tmp_path / "bucket"}) as service:
        found = look.remote(str(tmp_path))
    environment = found.pop("environment")
    assert found == {
        "mounted": "mounted",
        "forgotten": "ModuleNotFoundError",
        "outside": False,
        "where": "/root",
        "data": "signal",
        "write": "OSError",
        "break": "OSError",  # the interpreter is this machine's
        "local": False,
    }
    assert environment["WORD"] == "of the image"
    assert environment["HUB"] == "short"
    assert {"KEY", "OWN_TOKEN"} & set(environment) == set()
    assert service.report()["functions"]["look"]["buckets"]["/data"]["bucket"] == "patients/edf/"
    assert service.files("look") == ["/root/wb_mounted.py"]
    assert service.leaks() == []


@runs
def test_leaks_are_found_wherever_they_are(app, running, tmp_path):
    image = modal.Image.debian_slim().env({"COPIED": SECRET})
    volume = modal.Volume.from_name("kept", create_if_missing=True)

    @app.function(
        serialized=True,
        name="tell",
        image=image,
        secrets=[modal.Secret.from_dict({"KEY": SECRET})],
        volumes={"/kept": volume},
    )
    def tell():
        import os
        from pathlib import Path

        Path("/kept/note.txt").write_text(os.environ["KEY"])
        print("the key is", os.environ["KEY"])
        return os.environ["KEY"]

    with running(app, volumes=tmp_path) as service:
        tell.remote()
        assert service.leaks() == [
            "the Volume file kept/note.txt",
            "the image layer ENV",
            "the result of tell",
            "what a container printed",
        ]
        assert SECRET not in json.dumps({**service.report(), "functions": {}})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 86_401}, "must be 1 s to 86400 s"),
        ({"gpu": "RTX4090"}, "no GPU RTX4090"),
        ({"gpu": "H100:16"}, "at most 8 GPUs"),
        ({"gpu": ["L4", "A10:5"]}, "at most 4 GPUs"),
        ({"retries": 11}, "at most 10 retries"),
        ({"secrets": [modal.Secret.from_name("nowhere")]}, "no Secret nowhere here"),
        ({"secrets": [modal.Secret.from_name("hub", required_keys=["TOKEN"])]}, "the Secret hub lacks TOKEN"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_the_service_refuses(app, running, options, words):
    app.function(serialized=True, name="f", **options)(lambda: None)
    refused = pytest.raises(modal.exception.Error, match=words)
    with refused, running(app, run=False, secrets={"hub": {"HUB": "x"}}):
        pass


def test_what_is_recorded_without_running(app, running):
    image = modal.Image.debian_slim(python_version="3.11").pip_install("torch==2.10.0", gpu="T4")

    @app.function(serialized=True, name="train", image=image, gpu=["H100:2", "A100-80GB"], timeout=60)
    def train():
        pass

    with running(app, run=False) as service:
        with pytest.raises(modal.exception.RemoteError, match="recorded, not run: it was asked to record only"):
            train.remote()
        assert service.attempts == [{"function": "train", "attempt": 0, "status": "recorded"}]
        found = service.report()["functions"]["train"]
        assert (found["gpu"], found["timeout"]) == (["H100:2", "A100-80GB"], 60)
        last = found["layers"][-1]
        assert (last["gpu"], "RUN python -m pip install torch==2.10.0" in last["commands"][-1]) == ("T4", True)
        assert service.dockerfile("train")[0].startswith("FROM python:3.11")
        with pytest.raises(KeyError, match="no Function absent was recorded, only train"):
            service.layers("absent")


def test_where_namespaces_are_refused_it_records_and_says_so(monkeypatch, tmp_path):
    for name, script in (
        ("unshare", "echo unshare: Operation not permitted >&2; exit 1"),
        ("mount", ""),
        ("chroot", ""),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with LocalModal() as service:
        assert service.refused == "this machine refuses mount namespaces (unshare: Operation not permitted)"
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "chroot").unlink()
    assert why_no_containers() == "no chroot, sh on the PATH"


def test_what_the_model_does_not_know_is_listed(monkeypatch):
    with LocalModal(run=False) as service:
        for name, value in service.client_environment().items():
            monkeypatch.setenv(name, value)
        unknown = pytest.raises(Exception, match="there is no DictGetOrCreate in this model")
        with modal.Client.from_credentials("ak-model", "as-model") as client, unknown:
            modal.Dict.from_name("d", create_if_missing=True).hydrate(client)
        assert service.missing == ["DictGetOrCreate"]


def test_the_command(tmp_path, capfd):
    """A script of its own as the command: it sees the model's address; its exit code is ours."""
    script = tmp_path / "script.py"
    script.write_text("import os, sys; print(os.environ['MODAL_SERVER_URL']); sys.exit(3)")
    report = tmp_path / "report.json"
    assert main(["--report", str(report), "--secret", "aws=A,B", "--", sys.executable, str(script)]) == 3
    out, said = capfd.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert "A model of Modal on this machine: nothing is built, rented or paid." in said
    assert json.loads(report.read_text())["attempts"] == []
    assert main(["--", "no-such-command-here"]) == 127
    assert "no-such-command-here cannot be started" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["modal", "run", "app.py", "--gpu", "none"], ["--", "run", "app.py"]])
def test_the_command_says_where_it_has_to_stand(words, capfd):
    with pytest.raises(SystemExit):
        main(words)
    assert "python -m helpers.cloud [options] -- modal run" in capfd.readouterr().err


def test_a_volume_is_listed(tmp_path, capfd):
    (tmp_path / "results" / "runs" / "smoke").mkdir(parents=True)
    (tmp_path / "results" / "runs" / "smoke" / "last.ckpt").write_bytes(b"12")

    def listed(folder):
        command = [sys.executable, "-m", "modal", "volume", "ls", "results", folder]
        return main(["--volumes", str(tmp_path), "--", *command]), *capfd.readouterr()

    assert listed("runs")[:2] == (0, "runs/smoke\n")
    code, out, said = listed("runs/smoke")
    assert (code, out) == (0, "runs/smoke/last.ckpt\n")
    assert f"Volumes are folders in {tmp_path}" in said
    code, _, said = listed("nope")
    assert code == 1
    assert "no nope in the Volume results" in said


def test_the_command_records_only_when_asked(tmp_path, capfd):
    app = tmp_path / "small.py"
    image = "modal.Image.debian_slim().add_local_python_source('helpers')"  # the made-up value is in none of our files
    app.write_text(f"import modal\napp = modal.App(image={image})\n\n@app.function()\ndef f():\n    pass\n")
    command = [sys.executable, "-m", "modal", "run", "-q", str(app)]
    assert main(["--record-only", "--secret", "aws=A", "--", *command]) == 0
    said = capfd.readouterr().err
    assert "SECRET" not in said
    assert "It records only: it was asked to record only." in said
    assert "1 Functions declared; containers: f recorded" in said


def test_importing_the_package_loads_nothing():
    code = "import sys, helpers.cloud as cloud; cloud.price('H100'); print({'modal', 'grpclib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
