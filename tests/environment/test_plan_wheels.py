"""Guessed wheel names against the releases' own `get_wheel_url`, run from their archives; and which wheels exist."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from helpers.environment.artifacts import ArtifactError, unpacked
from helpers.environment.catalogue.releases import PACKAGES, releases
from helpers.environment.plan import Target, contract_kept, find_wheel, guess_wheel

RELEASES = [(package, item.version) for package in PACKAGES for item in releases(package)]
TORCHES = [("2.2.2", "12.1"), ("2.0.1", "11.8"), ("2.9.1", "13.0"), ("2.10.0", "12.8"), ("3.1.0", "14.0")]
TUPLES = [
    {"torch": torch, "cuda": cuda, "abi": abi, "python": python, "platform": platform, "container": container}
    for (torch, cuda), abi, python, platform, container in itertools.product(
        TORCHES, (True, False), ("3.9", "3.12"), ("linux_x86_64", "linux_aarch64", "win_amd64"), ("", "25.09")
    )
]
# Runs a setup.py on a stub of torch, without building anything, and prints what get_wheel_url says for each tuple.
ORACLE = """
import json, os, platform, sys, types
import setuptools
tuples, here = json.load(sys.stdin), sys.version_info
def module(name, **values):
    sys.modules[name] = made = types.ModuleType(name)
    made.__dict__.update(values)
    return made
class Stub: pass
torch = module("torch", __version__="0.0", version=types.SimpleNamespace(cuda="12.1", hip=None), _C=Stub())
module("torch.utils")
stubs = {name: Stub for name in ("BuildExtension", "CUDAExtension", "CppExtension")}
module("torch.utils.cpp_extension", **stubs, CUDA_HOME=None, HIP_HOME=None)
module("wheel")
module("wheel.bdist_wheel", bdist_wheel=Stub)
setuptools.setup = lambda **given: None
for name in ("MAMBA_SKIP_CUDA_BUILD", "CAUSAL_CONV1D_SKIP_CUDA_BUILD"):
    os.environ[name] = "TRUE"
names = {"__file__": os.path.abspath("setup.py"), "__name__": "__main__"}
exec(compile(open("setup.py", encoding="utf-8").read(), "setup.py", "exec"), names)
answers = []
for given in tuples:
    torch.__version__, torch.version.cuda = given["torch"], given["cuda"]
    torch._C._GLIBCXX_USE_CXX11_ABI = given["abi"]
    system, _, machine = given["platform"].partition("_")
    major, minor = given["python"].split(".")
    container = {"NVIDIA_PRODUCT_NAME": "PyTorch", "NVIDIA_PYTORCH_VERSION": given["container"]}
    os.environ.update(container) if given["container"] else [os.environ.pop(name, None) for name in container]
    platform.machine = lambda: machine
    real, sys.platform = sys.platform, "win32" if system == "win" else system
    sys.version_info = types.SimpleNamespace(major=int(major), minor=int(minor))
    try:
        answers.append(names["get_wheel_url"]())
    except ValueError:
        answers.append(None)
    finally:
        sys.platform, sys.version_info = real, here
print(json.dumps(answers))
"""


@pytest.mark.parametrize(("package", "version"), RELEASES, ids=[" ".join(item) for item in RELEASES])
def test_guesses_are_those_of_setup_py(package, version, tmp_path):
    try:
        folder = unpacked(package, version, tmp_path)
    except ArtifactError as fault:
        pytest.skip(str(fault))
    done = subprocess.run(
        [sys.executable, "-c", ORACLE], input=json.dumps(TUPLES), cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == len(TUPLES) == 120
    for given, answer in zip(TUPLES, answers, strict=True):
        target = Target(**given)
        url, name = answer or (None, None)
        assert guess_wheel(package, version, target) == name, given
        assert find_wheel(package, version, target).guess_url == url, given


@pytest.mark.parametrize(("package", "version"), RELEASES, ids=[" ".join(item) for item in RELEASES])
def test_facts_are_those_of_the_source_archive(package, version, tmp_path):
    try:
        folder = unpacked(package, version, tmp_path)
    except ArtifactError as fault:
        pytest.skip(str(fault))
    item = {item.version: item for item in releases(package)}[version]
    setup = (folder / "setup.py").read_text(encoding="utf-8")
    project = folder / "pyproject.toml"
    stated = setup + (project.read_text(encoding="utf-8") if project.exists() else "")
    assert any((folder / "csrc").rglob("*.cpp")) == item.csrc if (folder / "csrc").exists() else not item.csrc
    assert project.exists() == item.pyproject
    assert {arch.partition(" ")[0] for arch in item.archs} == set(_archs(setup))
    assert all(f'"{need}"' in stated for need in (*item.needs, *item.spare, *item.build_requires))
    cuda_branch = setup.rsplit("append_nvcc_threads(", 1)[1]
    assert (f"-std=c++{item.cxx}" in cuda_branch) if item.cxx else "-std=" not in cuda_branch


def _archs(setup):
    return [part.partition(",")[0] for part in setup.split("arch=compute_")[1:]]


@pytest.mark.parametrize(
    ("package", "version", "given", "pip", "basis"),
    [
        ("mamba-ssm", "2.2.2", ("2.2.2", "12.1", False, "3.11", "linux_x86_64"), "hit", "ci"),
        ("mamba-ssm", "2.2.2", ("2.4.1", "12.4", False, "3.11", "linux_x86_64"), "nightly", "ci"),
        ("mamba-ssm", "2.2.2", ("2.0.1", "12.1", False, "3.11", "linux_x86_64"), "404", "ci"),
        ("mamba-ssm", "2.2.4", ("2.5.0", "12.6", True, "3.10", "linux_aarch64"), "wrong machine", "ci"),
        ("mamba-ssm", "2.2.5", ("2.7.1", "13.0", True, "3.11", "linux_x86_64"), "wrong CUDA", "ci"),
        ("mamba-ssm", "2.2.5", ("2.2.2", "12.1", False, "3.11", "linux_x86_64"), "404", "ci"),
        ("mamba-ssm", "2.3.1", ("2.10.0", "13.0", True, "3.13", "linux_x86_64"), "hit", "listed"),
        ("mamba-ssm", "2.3.1", ("2.10.0", "13.0", True, "3.13", "linux_aarch64"), "wrong machine", "listed"),
        ("mamba-ssm", "2.3.2.post1", ("2.10.0", "13.0", True, "3.13", "linux_aarch64"), "hit", "listed"),
        ("mamba-ssm", "2.3.2.post1", ("2.11.0", "13.0", True, "3.13", "linux_x86_64"), "404", "listed"),
        ("mamba-ssm", "2.3.2.post1", ("2.9.1", "12.8", False, "3.12", "linux_x86_64"), "404", "listed"),
        ("mamba-ssm", "2.3.2.post1", ("2.9.1", "12.8", True, "3.14", "linux_x86_64"), "404", "listed"),
        ("mamba-ssm", "2.3.2.post1", ("2.9.1", "12.8", True, "3.12", "win_amd64"), "404", "listed"),
        ("mamba-ssm", "2.3.1", ("2.9.1", "14.0", True, "3.12", "linux_x86_64"), "stops", "listed"),
        ("causal-conv1d", "1.5.0.post8", ("2.6.0", "12.4", False, "3.11", "linux_x86_64"), "nightly", "ci"),
        ("causal-conv1d", "1.6.1", ("2.9.1", "12.8", True, "3.12", "linux_x86_64"), "other tag", "listed"),
        ("causal-conv1d", "1.6.2.post1", ("2.9.1", "12.8", True, "3.12", "linux_x86_64"), "hit", "listed"),
        ("causal-conv1d", "1.7.0", ("2.9.1", "12.8", True, "3.12", "linux_x86_64"), "unknown", "unknown"),
    ],
)
def test_what_pip_would_find(package, version, given, pip, basis):
    wheel = find_wheel(package, version, Target(*given))
    assert (wheel.pip, wheel.basis) == (pip, basis)


def test_every_wheel_of_1_6_1_is_at_its_other_tag():
    """80 files are listed at v1.6.1.post4 (Dao-AILab/causal-conv1d#122 counts them too)."""
    item = next(item for item in releases("causal-conv1d") if item.version == "1.6.1")
    sizes = [
        len(block.cuda) * len(block.torch) * len(block.abi) * len(block.python) * len(block.machine)
        for block in item.wheels
    ]
    assert sum(sizes) == 80
    wheel = find_wheel("causal-conv1d", "1.6.1", Target("2.9.1", "12.8", True, "3.12"))
    assert "/v1.6.1.post4/causal_conv1d-1.6.1+cu12torch2.9" in wheel.url
    assert "/v1.6.1/causal_conv1d-1.6.1+cu12torch2.9" in wheel.guess_url


@pytest.mark.parametrize(
    ("mamba", "convolution", "kept"),
    [
        ("1.0.1", "1.0.2", True),
        ("1.1.4", "1.1.3.post1", True),
        ("1.1.4", "1.2.0.post2", False),
        ("1.2.0.post1", "1.4.0", True),
        ("2.2.2", "1.5.0.post8", True),
        ("2.2.4", "1.5.0.post8", True),
        ("2.2.4", "1.5.1", False),
        ("2.2.4", "1.6.0", False),
        ("2.2.4", "1.7.0", False),
        ("2.2.5", "1.5.0.post8", False),
        ("2.2.5", "1.5.2", True),
        ("2.3.1+cu12torch2.6cxx11abiTRUE", "1.6.1+cu12torch2.6cxx11abiTRUE", True),
        ("2.3.2.post1", "1.4.0", False),
        ("2.3.2.post1", "1.7.0", True),
        ("2.4.0.dev1", "1.8.0rc1", True),
    ],
)
def test_contract(mamba, convolution, kept):
    assert contract_kept(mamba, convolution) is kept


@pytest.mark.parametrize(
    ("package", "version", "gpu", "nvcc", "covered"),
    [
        ("mamba-ssm", "2.2.2", "8.6", "12.2", True),  # code for sm_80 runs there
        ("mamba-ssm", "2.2.2", "9.0", "11.7", False),
        ("mamba-ssm", "2.2.2", "6.1", "12.2", False),  # sm_62 is later than 6.1
        ("mamba-ssm", "2.2.2", "12.0", "12.8", False),
        ("mamba-ssm", "2.3.1", "12.0", "12.8", True),
        ("mamba-ssm", "2.3.1", "12.0", "12.6", False),
        ("mamba-ssm", "2.3.1", "7.0", "12.9", True),
        ("mamba-ssm", "2.3.1", "7.0", "13.0", False),
        ("causal-conv1d", "1.7.0", "7.0", "12.4", False),
        ("causal-conv1d", "1.7.0", "7.5", "12.4", True),
    ],
)
def test_code_for_a_gpu(package, version, gpu, nvcc, covered):
    item = {item.version: item for item in releases(package)}[version]
    assert item.covers(gpu, nvcc, exact=True) is covered


def test_a_wheel_whose_nvcc_is_not_known_may_or_may_not_have_code():
    blackwell = Target("2.7.1", "12.8", True, "3.12", gpu="12.0")
    assert find_wheel("mamba-ssm", "2.3.1", blackwell).gpu is None
    assert find_wheel("mamba-ssm", "2.2.5", blackwell).gpu is False
    assert find_wheel("causal-conv1d", "1.6.1", blackwell).gpu is True
