"""The layers that facts and versions decide: Python, torch, toolkit, the pair of packages, wheels, pins and GPU. Each
function looks at one layer and returns it; compiled modules are read in `doctor_extensions`, imports tried in
`doctor_imports`. What to install instead is the question of `plan`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from helpers.environment.catalogue import table
from helpers.environment.catalogue.releases import PACKAGES, contract_kept, contracts, pairs, releases
from helpers.environment.doctor_result import Layer
from helpers.environment.doctor_target import Target, parsed
from helpers.environment.elf import ElfError, predict, read_extension
from helpers.environment.plan_target import NO_GPU, TargetError, find_target
from helpers.environment.plan_wheels import find_wheel
from helpers.environment.probe import run
from helpers.environment.report import CUDA

__all__ = ["build_torch", "gpu", "pair", "pins", "python", "toolkit", "torch", "wheels"]

BUILDS = {"cpu": "CPU build", "rocm": "ROCm build", "mps": "macOS build (CPU and MPS)"}
NVCC_SECONDS = 5.0


def python(target: Target) -> Layer:
    """The interpreter: version, machine, and which compiled modules it imports."""
    host = target.host
    suffix = target.suffixes[0] if target.suffixes else "no compiled modules"
    summary = f"{'.'.join(map(str, host.python))}, {host.architecture}, imports *{suffix}"
    wrong = {"Windows": "P1", "Darwin": "P4"}.get(host.system)
    if wrong and any(map(target.installed, ("mamba-ssm", "causal-conv1d"))):
        return Layer("python", "broken", summary, (target.fault(wrong, f"the system is {host.system}"),))
    return Layer("python", "ok", summary)


def torch(target: Target) -> Layer:
    """Which torch is installed, and whether its own files are whole and of this interpreter."""
    installed = target.torch
    if installed is None:
        users = [
            f"{name} {target.installed(name)}" for name in ("mamba-ssm", "causal-conv1d") if target.installed(name)
        ]
        if not users:
            return Layer("torch", "not here", "not installed")
        fault = target.fault("D4", f"{' and '.join(users)} installed, no torch on sys.path", about="torch")
        return Layer("torch", "broken", "not installed, but needed", (fault,))
    evidence = _torn(target)
    if evidence:
        fault = target.fault("D1", evidence, about="torch")
        return Layer("torch", "broken", f"{installed.version}, not whole", (fault,))
    facts = [installed.version, f"CUDA {installed.cuda} build" if installed.cuda else BUILDS.get(installed.build, "")]
    if target.cxx11_abi is not None:
        facts.append(f"cxx11abi{str(target.cxx11_abi).upper()}")
    return Layer("torch", "ok", ", ".join(filter(None, facts)))


def toolkit(target: Target) -> Layer:
    """The CUDA compiler, which only a build needs: never more than a note."""
    where, version = _nvcc(target)
    if where is None:
        return Layer("toolkit", "not here", "no nvcc; only a build needs it")
    if version is None:
        return Layer("toolkit", "note", f"{where} does not say its version; a build would stop (B4)")
    said = f"nvcc {version} in {where}"
    if target.torch is None or target.torch.build == "damaged":
        return Layer("toolkit", "note", f"{said}; a build needs torch first (B1)")
    if not target.torch.cuda:
        return Layer("toolkit", "note", f"{said}; a build ignores it under a torch without CUDA (B4)")
    if Version(version) < Version("11.6"):
        return Layer("toolkit", "note", f"{said}; a build needs 11.6 or later (B9)")
    if version.split(".")[0] != target.torch.cuda.split(".")[0]:
        return Layer("toolkit", "note", f"{said}, torch has CUDA {target.torch.cuda}; a build would stop (B8)")
    return Layer("toolkit", "ok", said)


def pair(target: Target) -> Layer:
    """Whether mamba-ssm calls causal-conv1d with the arguments that it takes."""
    texts = {name: target.installed(name) for name in ("mamba-ssm", "causal-conv1d")}
    mamba, conv = (target.version(name) for name in texts)
    said = ", ".join(f"{name} {text}" for name, text in texts.items() if text)
    if not said:
        return Layer("pair", "not here", "mamba-ssm and causal-conv1d, both optional")
    if not all(texts.values()):
        if texts["mamba-ssm"]:
            return Layer("pair", "note", f"{said} without causal-conv1d: Mamba2 needs use_mem_eff_path=False (I2)")
        return Layer("pair", "ok", f"{said}, without mamba-ssm")
    if mamba is None or conv is None:
        return Layer("pair", "note", f"{said}: whether they fit together is not known")
    if contract_kept(str(mamba), str(conv)):
        return Layer("pair", "ok", f"mamba-ssm {mamba} fits causal-conv1d {conv}")
    wanted = next((item["causal-conv1d"] for item in contracts() if mamba in item["mamba-ssm"]), "an unknown version")
    here = f"mamba-ssm {mamba} needs causal-conv1d {wanted}; here is {conv}"
    return Layer(
        "pair", "broken", f"mamba-ssm {mamba} does not fit causal-conv1d {conv}", (target.fault("I3", said, here),)
    )


def wheels(target: Target) -> Layer:
    """Which releases have wheels for this Python, torch and machine: advice, never a fault."""
    if target.torch is None or not target.torch.cuda:
        return Layer("wheels", "not here", "without a CUDA build of torch there is none to look for")
    capabilities = [item.compute_capability for item in target.machine.gpus]
    known = (capabilities[0] if capabilities else NO_GPU) or None
    try:
        abi = None if target.cxx11_abi is None else str(target.cxx11_abi).upper()
        asked = find_target(target.host, abi=abi, gpu=known)
    except TargetError as error:
        return Layer("wheels", "note", f"not looked for: {error}")
    fitting = {
        (name, item.version)
        for name in PACKAGES
        for item in releases(name)
        if find_wheel(name, item.version, asked).name
    }
    for mamba, conv in pairs():
        found = {(item.package, item.version) for item in (mamba, conv)} <= fitting
        if found and contract_kept(mamba.version, conv.version):
            newest = f"mamba-ssm {mamba.version}, causal-conv1d {conv.version}"
            return Layer("wheels", "ok", f"of the pairs that have wheels for this torch, the newest is {newest}")
    said = f"no pair of releases is known to have wheels for torch {asked.minor} here: pip would compile"
    return Layer("wheels", "note", said)


def pins(target: Target) -> Layer:
    """Versions of other packages that break an import, from `pins.toml`."""
    faults, looked_at = [], set()
    for pin in table("pins.toml")["pin"]:
        versions = {name: target.version(name) for name in pin["present"]}
        known = ("python", "torch", "mamba-ssm", "causal-conv1d")  # these have lines of their own
        looked_at.update(f"{name} {found}" for name, found in versions.items() if found and name not in known)
        missing = pin.get("absent", "")
        if missing and target.module(missing):
            continue
        if all(found and _fits(found, pin["present"][name]) for name, found in versions.items()):
            said = ", ".join(f"{name} {found}" for name, found in versions.items())
            evidence = f"{said}, no module {missing}" if missing else said
            faults.append(target.fault(pin["id"], evidence))
    if faults:
        return Layer("pins", "broken", "; ".join(fault.evidence for fault in faults), tuple(faults))
    return Layer("pins", "ok", ", ".join(["no versions that collide", *sorted(looked_at)]))


def gpu(target: Target) -> Layer:
    """The GPU and its driver, against the CUDA of torch."""
    machine, installed = target.machine, target.torch
    cuda = installed.cuda if installed else None
    if machine.gpu_fault:
        if cuda and machine.gpu_fault.startswith("nvidia-smi"):
            return Layer("gpu", "broken", machine.gpu_fault, (target.fault("D7", machine.gpu_fault),))
        return Layer("gpu", "note", machine.gpu_fault)
    cards = [item for item in machine.gpus if item.kind == "cuda"]
    if not cards:
        return Layer("gpu", "not here", "none with CUDA; the torch path runs on the CPU")
    names = f"{len(cards)} x {cards[0].name}" if len(cards) > 1 else cards[0].name
    said = ", ".join(
        [
            names,
            *([f"capability {cards[0].compute_capability}"] if cards[0].compute_capability else []),
            *([f"driver {machine.driver}"] if machine.driver else []),
        ]
    )
    if not cuda:
        state = "note" if installed else "ok"
        return Layer("gpu", state, f"{said}; this torch has no CUDA and leaves it alone" if installed else said)
    hidden = target.host.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return Layer("gpu", "note", f'{said}; CUDA_VISIBLE_DEVICES="{hidden}" hides it')
    return _against_cuda(target, said, cuda)


def build_torch(target: Target) -> str:
    """Which torch a build would see, in one sentence."""
    if target.torch is None:
        return "A build here would see no torch, or in pip's isolation one that pip fetches."
    where = target.torch_folder or "a folder that is gone"
    said = "with --no-build-isolation; otherwise one that pip fetches, or none."
    return f"A build here would see torch {target.torch.version} of {where} {said}"


def _torn(target: Target) -> str:
    """What shows that torch's own files are not whole; empty where nothing does."""
    folder = target.torch_folder
    if folder is None:
        gone = "torch/version.py" if target.torch.build == "damaged" else "torch/__init__.py"
        return f"{gone} is not there, the record of torch {target.torch.version} is"
    if target.host.system != "Linux":
        return ""
    compiled = sorted(folder.glob("_C.*so"))
    if not compiled:
        return f"no compiled module torch/_C in {folder}"
    own = next((path for path in compiled if path.name.removeprefix("_C") in target.suffixes), compiled[0])
    try:
        findings = predict(read_extension(own), target.search(torch_first=False))
    except ElfError as error:
        return str(error)
    return f"{findings[0].text} ({findings[0].reason})" if findings else ""


def _nvcc(target: Target) -> tuple[str | None, str | None]:
    """Folder of the toolkit that a build would take, as torch looks for it, and its version."""
    host = target.host
    home = host.environ.get("CUDA_HOME") or host.environ.get("CUDA_PATH")
    tool = shutil.which("nvcc", path=host.environ.get("PATH", ""))
    if home:
        tool = str(Path(home, "bin/nvcc"))
    elif tool:
        home = str(Path(tool).parent.parent)
    elif host.file("/usr/local/cuda/bin/nvcc").exists():
        home, tool = "/usr/local/cuda", str(host.file("/usr/local/cuda/bin/nvcc"))
    if home is None:
        return None, None
    _, out, _ = run([tool, "--version"], NVCC_SECONDS, host.environ)
    found = re.search(r"release (\d+\.\d+)", out)
    return home, found[1] if found else None


def _fits(version: Version, wanted: str) -> bool:
    return SpecifierSet(wanted).contains(version, prereleases=True)


def _against_cuda(target: Target, said: str, cuda: str) -> Layer:
    machine = target.machine
    oldest_driver, oldest_gpu, index = CUDA.get(int(cuda.split(".")[0]), (0, (0, 0), None))
    older = (
        f"or a torch for it: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{index}"
    )
    words = {"driver": oldest_driver, "older": older if index else ""}
    driver = parsed(machine.driver)
    if driver and driver.major < oldest_driver and "Jetson" not in machine.places:
        fault = target.fault("D6", f"CUDA {cuda} needs driver {oldest_driver}, here is {machine.driver}", **words)
        return Layer("gpu", "broken", said, (fault,))
    capabilities = [item.compute_capability for item in machine.gpus if item.compute_capability]
    if capabilities and all(tuple(map(int, item.split("."))) < oldest_gpu for item in capabilities):
        needs = "CUDA {} needs capability {}.{}".format(cuda, *oldest_gpu)
        return Layer("gpu", "broken", said, (target.fault("D11", f"{needs}, here is {capabilities[0]}", **words),))
    return Layer("gpu", "ok", said)
