"""env/jetson: the stand-ins for torch.distributed let the real mamba_ssm import, and the pins are what plan says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from helpers.environment.artifacts import ArtifactError, unpacked
from helpers.environment.catalogue.releases import PACKAGES, contract_kept
from helpers.environment.plan import find_target, plan

ENV = Path(__file__).resolve().parents[2] / "env"
JETSON = ENV / "jetson"

# A torch as USE_DISTRIBUTED=0 builds it: what its compiled half then lacks is taken away before torch.distributed runs.
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.distributed":
            import torch._C as compiled
            for each in dir(compiled):
                if "c10d" in each or each.startswith("_distributed") or each in ("_rpc_init", "_faulty_agent_init"):
                    delattr(compiled, each)
sys.meta_path.insert(0, Without())
"""
IMPORT = """
import sys, types
for name, folder in (("mamba_ssm", ""), ("mamba_ssm.distributed", "/distributed")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[1] + folder]
import mamba_ssm.distributed.distributed_utils
import torch.distributed as distributed
print("imported", distributed.is_available(), distributed.all_gather_into_tensor.__module__)
"""


def python(code, *arguments, stand_ins=True):
    old = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [str(JETSON) if stand_ins else "", old]))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


@pytest.fixture(scope="module")
def mamba(tmp_path_factory):
    pytest.importorskip("torch", reason="no torch to take something away from")
    try:
        return unpacked("mamba-ssm", "2.2.4", tmp_path_factory.mktemp("mamba")) / "mamba_ssm"
    except ArtifactError as fault:
        pytest.skip(str(fault))


def test_without_the_stand_ins_mamba_ssm_does_not_import(mamba):
    done = python(WITHOUT + IMPORT, mamba, stand_ins=False)
    assert done.returncode == 1
    assert re.search(r"ImportError: cannot import name 'ProcessGroup'|no attribute '_all_gather_base'", done.stderr)


def test_with_them_it_does_and_who_asks_for_more_is_told(mamba):
    done = python(WITHOUT + IMPORT, mamba)
    assert (done.returncode, done.stdout) == (0, "imported False sitecustomize\n"), done.stderr
    done = python(WITHOUT + IMPORT + "distributed.all_gather_into_tensor(1, 2)", mamba)
    assert "RuntimeError: this torch was built without distributed" in done.stderr


def test_a_torch_with_its_distributed_stays_as_it_is(mamba):
    done = python(IMPORT, mamba)
    assert (done.returncode, done.stdout) == (0, "imported True torch.distributed.distributed_c10d\n"), done.stderr


def test_every_python_starts_as_fast_as_before():
    done = python(
        "import sys; print([name for name in sys.modules if name.startswith('torch')], 'sitecustomize' in sys.modules)"
    )
    assert done.stdout == "[] True\n", done.stderr


def test_the_pins_are_what_plan_builds_on_jetpack_6():
    text = (JETSON / "jetpack6.txt").read_text()
    pins = {item.name: item for item in map(Requirement, re.findall(r"^[a-z].*", text, re.MULTILINE))}
    version, cuda, python, gpu = re.search(r"torch (\S+), CUDA (\S+), Python (\S+), GPU ([\d.]+):", text).groups()
    target = find_target(torch=version, cuda=cuda, abi="TRUE", python=python, platform="linux_aarch64", gpu=gpu)
    found = plan(target)
    assert (found.kind, found.chosen.contract) == ("build", True)
    kernels = (JETSON / "jetpack6-kernels.txt").read_text()
    named = {
        item.name: str(item.specifier) for item in map(Requirement, re.findall(r"^[a-z].*", kernels, re.MULTILINE))
    }
    words = " ".join(found.commands)
    assert {f"{name}{named[name]}" in words for name in PACKAGES} == {True}
    assert contract_kept(named["mamba-ssm"].removeprefix("=="), named["causal-conv1d"].removeprefix("=="))
    assert {"einops", "transformers", "ninja", "packaging", "numpy", "triton"} <= set(pins)
    assert {str(item) for item in pins.values()} - set(shlex.split(words)) == {"numpy<2"}  # for NVIDIA's torch alone
    assert not pins["transformers"].specifier.contains("5.0")
    assert not pins["numpy"].specifier.contains("2.0")


def test_the_wheel_names_of_the_readme_are_names():
    text = (JETSON / "README.md").read_text()
    names = re.findall(r"[\w.+-]+\.whl", text)
    assert len(names) >= 3
    assert {next(iter(parse_wheel_filename(name)[3])).platform for name in names} >= {"linux_aarch64", "linux_x86_64"}
