"""The images of env/modal/app.py, on the recorded layers: order, pins, flags, the GPU layer, files, and no secret.

`faults` says what is wrong with a recorded recipe. It has to find nothing in ours, and something in each mutant.
"""

import re

import pytest
import tomllib
from conftest import CANARY, ROOT

SMOKE = "RUN python -c "
# Each recipe in its order, as parts of the recorded commands.
ORDER = {
    "C": ["FROM python:3.11", "torch==", "mne==", SMOKE],
    "A": ["FROM python:3.11", "torch==", "mne==", "transformers==", "/mamba_ssm-", SMOKE],
    "B": [
        "FROM nvidia/cuda:",
        "ENTRYPOINT []",
        "build-essential",
        "ENV CC=gcc",
        "ENV CXX=g++",
        "ENV MAX_JOBS=",
        "ENV CUDA_HOME=/usr/local/cuda",
        "torch==",
        "transformers==",
        "causal-conv1d@v",
        "mamba@v",
        SMOKE,
    ],
    "notes": ["FROM python:3.11", "torch==2.2.2", "transformers==4", "/mamba_ssm-2.2.2", SMOKE],
}
VARIABLES = {
    "ENV WORKBOOK_CACHE=/results/cache",
    "ENV TRITON_CACHE_DIR=/results/cache/triton",
    "ENV TRITON_CACHE_AUTOTUNING=1",
}
UNPINNED = {"packaging", "wheel", "setuptools>=61"}  # what builds or is built by nothing here


def package_files():
    """What of this package has to be in the container, as paths there."""
    source = ROOT / "src" / "helpers"
    kept = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {f"/root/helpers/{path.relative_to(source)}" for path in kept}


def faults(recipe, modal):
    """What is wrong with a recorded recipe, one word for each kind."""
    commands = modal.dockerfile("train")
    places = [next((i for i, line in enumerate(commands) if part in line), None) for part in ORDER[recipe]]
    found = ["order"] if None in places or places != sorted(places) else []
    installs = [line for line in commands if "pip install" in line and "--upgrade pip" not in line]
    for line in installs:
        words = line.partition("install ")[2].replace("'", "").split()
        names = [word for word in words if not word.startswith(("-", "/constraints"))]
        found += ["pin" for name in names if not re.search(r"==|@v\d|\.whl$", name) and name not in UNPINNED]
        if recipe != "notes" and re.search("torch==|mne==", line) and "--constraint /constraints.txt" not in line:
            found.append("pin")
        if "mamba" in line and "--no-deps" not in words:
            found.append("flag")
        if "git+" in line and ("--no-build-isolation" not in words or "_FORCE_BUILD=TRUE" not in line):
            found.append("flag")
    torch = re.search(r"torch==(\d+\.\d+)", "\n".join(installs))
    wheels = re.findall(r"\+cu\d+torch(\d+\.\d+)cxx11abi\w+-cp311-cp311-linux_x86_64\.whl", "\n".join(installs))
    if not torch or wheels != [torch[1]] * (2 if recipe in ("A", "notes") else 0):
        found.append("wheel")
    asking = [layer["commands"][-1] for layer in modal.layers("train") if layer["gpu"]]
    if len(asking) != 1 or not asking[0].startswith(SMOKE) or ("mamba_ssm" in asking[0]) != (recipe != "C"):
        found.append("gpu")
    variables = {line for line in commands if re.match("ENV (WORKBOOK|TRITON)", line)}
    if variables != VARIABLES:
        found.append("variables")
    pythons = {str(request.deployment_name) for request in modal.requests("MountGetOrCreate")}
    if recipe == "B" and not any("python-build-standalone" in name and "3.11" in name for name in pythons):
        found.append("python")
    files = set(modal.files("train"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    wanted = {
        *package_files(),
        "/root/helpers/detection/weights/synthetic.pt",
        f"/root/bimamba_eeg_workbook-{version}.dist-info/METADATA",
    }
    if not wanted <= files or any("__pycache__" in name for name in files):
        found.append("package")
    named = any(re.search(r"AWS_|TOKEN|PASSWORD", line) for line in commands)
    if modal.leaks() or named or any(layer["secrets"] for layer in modal.layers("train")):
        found.append("secret")
    return sorted(set(found))


@pytest.mark.parametrize("recipe", ORDER)
def test_the_layers_of_a_recipe(record, recipe):
    modal = record(ROOT / "env" / "modal" / "app.py", "--recipe", recipe, "--gpu", "A100-80GB:2")
    assert faults(recipe, modal) == []
    assert modal.missing == []
    assert [layer["gpu"] for layer in modal.layers("train") if layer["gpu"]] == ["A100-80GB"]  # one is enough to try


def swapped(text):
    """The wheels before torch."""
    line = '.pip_install(*kernels("current"), extra_options="--no-deps")'
    assert line in text
    slim = "modal.Image.debian_slim(python_version=PYTHON)"
    text = re.sub(r"\n +" + re.escape(line) + "[^\n]*", "", text)
    return text.replace(f"torch_and_workbook({slim})\n        .pip", f"torch_and_workbook({slim}{line})\n        .pip")


def replaced(old, new):
    def change(text):
        assert old in text, old
        return text.replace(old, new)

    return change


MUTANTS = {
    "order swapped": ("A", swapped, "order"),
    "torch without a pin": ("A", replaced('pins("current")["torch"]', '"torch"'), "pin"),
    "transformers without a pin": (
        "A",
        replaced('*(found[name] for name in ("transformers", ', '"transformers", *(found[name] for name in ('),
        "pin",
    ),
    "isolation on": ("B", replaced("--no-build-isolation ", ""), "flag"),
    "pip may replace torch": ("A", replaced(', extra_options="--no-deps"', ""), "flag"),
    "no compiler named": ("B", replaced('"CC": "gcc", "CXX": "g++", ', ""), "order"),
    "wheels for another torch": ("A", replaced('pins("current")["torch"]', '"torch==2.9.1"'), "wheel"),
    "no GPU in the build": ("A", replaced(', gpu=GPU.partition(":")[0])', ")"), "gpu"),
    "package not added": (
        "C",
        replaced('.add_local_python_source("helpers", ignore=["**/__pycache__/**", "**/weights/**"])', ""),
        "package",
    ),
    "package without its data": (
        "C",
        replaced('"helpers", ignore=["**/__pycache__/**", "**/weights/**"]', '"helpers"'),
        "package",
    ),
    "secret in a layer": (
        "C",
        replaced('"WORKBOOK_CACHE": ', f'"KEY": "{CANARY}", "WORKBOOK_CACHE": '),
        "secret",
    ),
}


@pytest.mark.parametrize(("recipe", "change", "kind"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_seen(record, checkout, recipe, change, kind):
    assert kind in faults(recipe, record(checkout(change), "--recipe", recipe))


def test_what_the_functions_ask_for(record):
    modal = record(ROOT / "env" / "modal" / "app.py", "--gpu", "H100:2", "--bucket", "eeg/tusz", "--timeout", "3600")
    found = modal.report()["functions"]
    train = found["train"]
    assert (train["gpu"], train["timeout"], train["retries"], train["single_use"]) == (["H100:2"], 3600, 10, True)
    assert (train["cores"], train["memory"]) == (8, 32 * 1024)
    assert train["volumes"] == {"/results": "workbook-results"}
    assert found["list_recordings"]["gpu"] == found["prepare_recording"]["gpu"] == []
    mount = {"bucket": "eeg/tusz/", "read_only": True, "secret": "aws-s3-secret"}
    for name in ("list_recordings", "prepare_recording", "evaluate_run"):
        assert found[name]["buckets"] == {"/data": mount}
    assert all(function["secrets"] == [] for function in found.values())  # the mount has them, no process does
    (asked,) = {tuple(request.required_keys) for request in modal.requests("SecretGetOrCreate")}
    assert set(asked) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}


def test_without_a_bucket_no_secret_is_needed(record):
    assert record(ROOT / "env" / "modal" / "app.py", "--gpu", "none").requests("SecretGetOrCreate") == []
