"""What will run on this machine: the verdicts, each with its reason and the next step. The facts come from `probe` and
`packages`; how a report looks on a screen is in `screen`. It looks for what is missing, not for what is broken inside a
package that is there: the one thing that it tries is the import of the official kernels, which fail silently otherwise.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.environment.packages import (
    DISTRIBUTION,
    Package,
    Torch,
    install_argument,
    required,
    torch_build,
    version_of,
)
from helpers.environment.probe import Host, Machine, probe, run

NOTEBOOK_PYTHON = (3, 11)
FREE_DISK_GIB = 1.0  # recordings and the throwaway environments of the labs

# CUDA major: the oldest driver branch, the oldest compute capability, and an index of wheels to go back to.
CUDA = {13: (580, (7, 5), "cu126"), 12: (525, (5, 0), "cu118"), 11: (450, (3, 5), None)}

NO_GPU = {
    "Colab": "For a GPU on Colab: Runtime > Change runtime type > choose a GPU.",
    "Modal": 'For a GPU on Modal: @app.function(gpu="T4").',
    "WSL1": "For a GPU: wsl --set-version DISTRIBUTION 2  (in Windows; WSL1 has none)",
    "WSL2": "For an NVIDIA GPU on WSL2: install its driver in Windows, never in WSL.",
}


@dataclass(frozen=True)
class Verdict:
    """Whether one thing runs here: `answer` is `yes`, `no` or `partly`; `todo` holds commands or sentences."""

    name: str
    answer: str
    reason: str = ""
    todo: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What this machine is and what will run on it.

    Attributes
    ----------
    workbook : str or None
        Installed version of the workbook.
    machine : Machine
    torch : Torch or None
    kernels : tuple of Package
        mamba-ssm and causal-conv1d; both are optional.
    packages : tuple of Package
        What the notebooks need.
    verdicts : tuple of Verdict
    """

    workbook: str | None
    machine: Machine
    torch: Torch | None
    kernels: tuple[Package, ...]
    packages: tuple[Package, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def ready(self) -> bool:
        """Whether the notebooks run here, on the CPU at least."""
        return any(verdict.name == "Notebooks on CPU" and verdict.answer == "yes" for verdict in self.verdicts)

    def to_dict(self) -> dict:
        """Return the report as JSON types only, `ready` included."""
        return json.loads(json.dumps({"ready": self.ready, **asdict(self)}))


def preflight(host: Host | None = None) -> Report:
    """Look at this machine and say what of the workbook runs on it.

    Parameters
    ----------
    host : Host, optional
        Where to look; this process and its machine when left out.

    Returns
    -------
    Report

    Notes
    -----
    Without an NVIDIA GPU it takes a fraction of a second. With one, `nvidia-smi` may take `host.timeout` seconds, and
    installed official kernels are imported in a process of their own, which may take a minute.
    """
    host = host or Host()
    machine = probe(host)
    torch = torch_build(host)
    packages = (*required(host, "workbook"), *required(host))
    kernels = tuple(_optional(host, name) for name in ("mamba-ssm", "causal-conv1d"))
    cpu = _on_cpu(host, machine, torch, packages)
    gpu = _on_gpu(host, machine, torch, cpu)
    verdicts = [
        cpu,
        gpu,
        _official_kernels(host, machine, kernels, gpu),
        _extra(host, machine, "Building the book", required(host, "book"), "book"),
        _extra(host, machine, "JupyterLab", [item for item in packages if item.name == "jupyterlab"], "workbook"),
    ]
    if host.python < NOTEBOOK_PYTHON:
        reason = f"on Python {_minor(host)} these are all that runs"
        verdicts.insert(0, Verdict("Environment tools", "yes", reason))
    return Report(version_of(host, DISTRIBUTION), machine, torch, kernels, packages, tuple(verdicts))


def _on_cpu(host: Host, machine: Machine, torch: Torch | None, packages: tuple[Package, ...]) -> Verdict:
    name = "Notebooks on CPU"
    if host.system == "Windows":
        return Verdict(name, "no", "Windows itself is not supported, WSL2 is", ("wsl --install",))
    if host.python < NOTEBOOK_PYTHON:
        return _needs_newer_python(host, name)
    if version_of(host, DISTRIBUTION) is None:
        reason = "the workbook is not installed for this Python"
        return Verdict(name, "no", reason, _install(host, machine, "workbook", torch_too=torch is None))
    faults = [item for item in packages if item.problem]
    if torch is not None and torch.build == "damaged":
        command = f"{_pip(host, machine)} install --force-reinstall torch{_torch_index(machine)}"
        return Verdict(name, "no", f"torch {torch.version}: its files are gone", (*_prepare(host, machine), command))
    if faults:
        missing = any(item.name == "torch" for item in faults) and torch is None
        return Verdict(name, "no", _faults(faults), _install(host, machine, "workbook", torch_too=missing))
    if machine.free_disk_gib is not None and machine.free_disk_gib < FREE_DISK_GIB:
        reason = f"{machine.free_disk_gib} GiB free for downloads, {FREE_DISK_GIB:g} needed"
        return Verdict(name, "no", reason, ("Free some disk, or set WORKBOOK_CACHE to a folder on another one.",))
    return Verdict(name, "yes")


def _on_gpu(host: Host, machine: Machine, torch: Torch | None, cpu: Verdict) -> Verdict:
    name = "Notebooks on GPU"
    if host.system == "Windows" or host.python < NOTEBOOK_PYTHON:
        return Verdict(name, "no", cpu.reason, cpu.todo)
    if machine.gpu_fault:
        return Verdict(name, "no", machine.gpu_fault, (_repair_driver(machine),))
    if not machine.gpus:
        hint = tuple(NO_GPU[place] for place in machine.places if place in NO_GPU)[:1]
        return Verdict(name, "no", "no GPU found; every notebook runs on the CPU", hint)
    if cpu.answer != "yes":
        return Verdict(name, "no", "first what the notebooks on the CPU need", cpu.todo)
    if machine.gpus[0].kind == "mps":
        return Verdict(name, "partly", "Apple GPU through PyTorch; the kernels are NVIDIA's")
    hidden = host.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return Verdict(name, "no", f'CUDA_VISIBLE_DEVICES="{hidden}" hides it', ("unset CUDA_VISIBLE_DEVICES",))
    if torch.build != "cuda":
        return Verdict(name, "no", f"torch {torch.version} is not a CUDA build", _cuda_torch(host, machine))
    return _fits_driver(host, machine, torch)


def _repair_driver(machine: Machine) -> str:
    if machine.gpu_fault.startswith("nvidia-smi"):
        return "Reboot; if nvidia-smi still fails, reinstall the NVIDIA driver."
    if "container" in machine.places:
        return "Start the container with its GPU: docker run --gpus all ..."
    return "Install the NVIDIA driver, reboot, and see that nvidia-smi answers."


def _fits_driver(host: Host, machine: Machine, torch: Torch) -> Verdict:
    name = "Notebooks on GPU"
    major = int(torch.cuda.split(".")[0])
    driver, capability, _ = CUDA.get(major, (0, (0, 0), None))
    if machine.driver and int(machine.driver.split(".")[0]) < driver:
        reason = f"CUDA {torch.cuda} needs driver {driver}, here is {machine.driver}"
        return Verdict(name, "no", reason, _cuda_torch(host, machine))
    oldest = min((_capability(gpu.compute_capability) for gpu in machine.gpus if gpu.compute_capability), default=None)
    if oldest and oldest < capability:
        reason = "CUDA {} needs capability {}.{}, here is {}.{}".format(torch.cuda, *capability, *oldest)
        return Verdict(name, "no", reason, _cuda_torch(host, machine))
    return Verdict(name, "yes", f"torch {torch.version}, CUDA {torch.cuda}")


def _official_kernels(host: Host, machine: Machine, kernels: tuple[Package, ...], gpu: Verdict) -> Verdict:
    name = "mamba-ssm kernels"
    if not any(item.kind == "cuda" for item in machine.gpus):
        return Verdict(name, "no", "optional: they need an NVIDIA GPU and Linux")
    if gpu.answer != "yes":
        return Verdict(name, "no", "optional: first the notebooks on the GPU")
    absent = [item.name for item in kernels if item.version is None]
    if absent:
        return Verdict(name, "no", f"optional: {' and '.join(absent)} not installed")
    test = "import torch, causal_conv1d, mamba_ssm"
    environ = {**host.environ, "PYTHONPATH": os.pathsep.join(item for item in host.path if item)}
    code, _, stderr = run([host.executable, "-c", test], 6 * host.timeout, environ)
    if code == 0:
        return Verdict(name, "yes", "both import")
    last = (stderr or f"exit status {code}").splitlines()[-1]
    reason = f"no answer within {6 * host.timeout:g} s" if code is None else last
    return Verdict(name, "no", f"optional: {reason}", (f'{_python(host, machine)} -c "{test}"',))


def _extra(host: Host, machine: Machine, name: str, packages: Iterable[Package], extra: str) -> Verdict:
    if host.system == "Windows":
        return Verdict(name, "no", "Windows itself is not supported, WSL2 is", ("wsl --install",))
    if host.python < NOTEBOOK_PYTHON:
        return _needs_newer_python(host, name)
    packages = list(packages)
    faults = [item for item in packages if item.problem]
    if packages and not faults:
        return Verdict(name, "yes")
    reason = _faults(faults) if faults else "the workbook is not installed for this Python"
    return Verdict(name, "no", reason, _install(host, machine, extra))


def _needs_newer_python(host: Host, name: str) -> Verdict:
    wanted = "{}.{}".format(*NOTEBOOK_PYTHON)
    todo = (
        f"The notebooks need Python {wanted} or later, found {_minor(host)}. Install it, then:",
        f"python{wanted} -m venv .venv && . .venv/bin/activate",
        f"python -m pip install {install_argument(host, 'workbook')}",
    )
    return Verdict(name, "no", f"needs Python {wanted} or later, found {_minor(host)}", todo)


def _optional(host: Host, name: str) -> Package:
    version = version_of(host, name)
    return Package(name, "", version, None if version else "missing")


def _faults(faults: list[Package]) -> str:
    first = faults[0]
    reason = (
        f"{first.name} is missing" if first.version is None else f"{first.name} {first.version} is not {first.required}"
    )
    return reason + (f", and {len(faults) - 1} more" if len(faults) > 1 else "")


def _install(host: Host, machine: Machine, extra: str, torch_too: bool = False) -> tuple[str, ...]:
    index = _torch_index(machine) if torch_too else ""
    torch = (f"{_pip(host, machine)} install torch{index}",) if index else ()
    return (*_prepare(host, machine), *torch, f"{_pip(host, machine)} install {install_argument(host, extra)}")


def _prepare(host: Host, machine: Machine) -> tuple[str, ...]:
    if machine.python_kind == "externally managed":
        return ("python3 -m venv .venv && . .venv/bin/activate",)
    if version_of(host, "pip") is None:
        return (f"{_python(host, machine)} -m ensurepip --upgrade",)
    return ()


def _torch_index(machine: Machine) -> str:
    """Where PyPI's torch is the wrong one: several GB of CUDA without a GPU, or a CUDA newer than the driver."""
    if machine.system.startswith("macOS") or "Jetson" in machine.places:
        return ""
    if not machine.gpus and not machine.gpu_fault:
        return " --index-url https://download.pytorch.org/whl/cpu"
    newest = max(CUDA)
    driver, capability, index = CUDA[newest]
    old_driver = machine.driver and int(machine.driver.split(".")[0]) < driver
    old_gpu = any(gpu.compute_capability and _capability(gpu.compute_capability) < capability for gpu in machine.gpus)
    return f" --index-url https://download.pytorch.org/whl/{index}" if old_driver or old_gpu else ""


def _cuda_torch(host: Host, machine: Machine) -> tuple[str, ...]:
    if "Jetson" in machine.places:
        return ("Install NVIDIA's torch wheel for this JetPack: PyPI's is for other machines.",)
    if machine.driver and int(machine.driver.split(".")[0]) < CUDA[12][0]:
        return (f"Install an NVIDIA driver {CUDA[12][0]} or later, found {machine.driver}.",)
    return (*_prepare(host, machine), f"{_pip(host, machine)} install --force-reinstall torch{_torch_index(machine)}")


def _pip(host: Host, machine: Machine) -> str:
    return f"{_python(host, machine)} -m pip"


def _python(host: Host, machine: Machine) -> str:
    """`python` where the shell means the right interpreter by it, else the whole path."""
    if machine.python_kind == "externally managed":
        return "python"  # of the environment that `_prepare` makes
    found = shutil.which("python", path=host.environ.get("PATH", os.defpath))
    if found and Path(found).absolute() == Path(host.executable).absolute():
        return "python"
    return shlex.quote(host.executable)


def _capability(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _minor(host: Host) -> str:
    return "{}.{}".format(*host.python)
