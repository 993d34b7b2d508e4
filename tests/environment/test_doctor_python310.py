"""The doctor on the floor: it runs on Python 3.10 with the base dependencies alone, and finds nothing wrong there."""

from __future__ import annotations

import json
import sys

from test_python310 import environment_tools


def test_doctor_runs_on_python310(python310):
    done = environment_tools(python310, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Doctor: nothing is broken")
    assert "3.10." in done.stdout


def test_doctor_on_python310_examines_a_newer_python(python310):
    done = environment_tools(python310, "doctor", "--python", sys.executable, "--no-import", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["layers"][0]["summary"].startswith("{}.{}.{}".format(*sys.version_info))
    assert {layer["name"]: layer["state"] for layer in found["layers"]}["torch"] == "ok"
