"""Facts about the machine: system, place, Python, processor, memory, disk and GPU. It judges nothing, and knows nothing
of installed packages. Every fact is read below `Host.root` or from `Host.environ`, so a test can stand up any machine.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True)
class Host:
    """Where facts are read from: by default this process and its machine.

    Attributes
    ----------
    root : Path
        The folder that stands for `/`.
    environ : mapping
        Environment variables, `PATH` and `HOME` included.
    path : tuple of str
        Folders that are searched for installed distributions.
    python : tuple of int
        Version of the interpreter, three numbers.
    executable : str
        Path of the interpreter.
    system, architecture : str
        As `platform.system()` and `platform.machine()` say them: `Linux`, `Darwin`, `Windows`; `x86_64`, `aarch64`.
    timeout : float
        Seconds that `nvidia-smi` may take. Drivers without persistence mode need several.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    python: tuple[int, int, int] = field(default_factory=lambda: tuple(sys.version_info[:3]))
    executable: str = field(default_factory=lambda: sys.executable)
    system: str = field(default_factory=platform.system)
    architecture: str = field(default_factory=platform.machine)
    timeout: float = 10.0

    def file(self, path: str) -> Path:
        """Return the absolute `path` as it is found below `root`."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """Return the text of the absolute `path` below `root`, empty where it cannot be read."""
        try:
            return self.file(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return ""


@dataclass(frozen=True)
class Gpu:
    """One GPU. `memory_gib` (GiB) and `compute_capability` are None where nobody says; `kind` is `cuda` or `mps`."""

    name: str
    kind: str = "cuda"
    memory_gib: float | None = None
    compute_capability: str | None = None


@dataclass(frozen=True)
class Machine:
    """What the machine is.

    Attributes
    ----------
    system : str
        Operating system or distribution with its version.
    places : tuple of str
        Those of `Colab`, `Modal`, `Jetson`, `WSL2`, `WSL1`, `container` whose fingerprint is here; often none.
    architecture, python, python_kind, python_path : str
        `python_kind` is `virtual environment`, `conda environment`, `externally managed` (PEP 668) or `system`.
    cpus : int
        Cores that this process may use (affinity and cgroup quota).
    memory_gib, free_disk_gib : float or None
        Memory that this process may use, and free disk at `cache_folder`, GiB.
    cache_folder : str
        Where downloads are kept.
    gpus : tuple of Gpu
    driver : str or None
        Version of the NVIDIA driver.
    gpu_fault : str or None
        Why a GPU that seems to be here does not answer.
    """

    system: str
    places: tuple[str, ...]
    architecture: str
    python: str
    python_kind: str
    python_path: str
    cpus: int
    memory_gib: float | None
    cache_folder: str
    free_disk_gib: float | None
    gpus: tuple[Gpu, ...]
    driver: str | None
    gpu_fault: str | None


def probe(host: Host) -> Machine:
    """Read the facts about a machine; never raises for a missing fact and never hangs.

    Parameters
    ----------
    host : Host
        Where to read them.

    Returns
    -------
    Machine
    """
    places = _places(host)
    gpus, driver, fault = _gpus(host, places)
    cache = cache_folder(host)
    return Machine(
        system=_system(host),
        places=places,
        architecture=host.architecture,
        python=".".join(map(str, host.python)),
        python_kind=_python_kind(host),
        python_path=host.executable,
        cpus=_cpus(host),
        memory_gib=_memory_gib(host),
        cache_folder=str(cache),
        free_disk_gib=_free_disk_gib(cache),
        gpus=gpus,
        driver=driver,
        gpu_fault=fault,
    )


def cache_folder(host: Host | None = None) -> Path:
    """Return the folder where downloads are kept: `$WORKBOOK_CACHE`, or else the platform's cache folder.

    Parameters
    ----------
    host : Host, optional
        Gives `WORKBOOK_CACHE`, `HOME`, `XDG_CACHE_HOME` (Linux, macOS) and `LOCALAPPDATA` (Windows); this process's own
        when left out.

    Returns
    -------
    Path
        It may not exist yet.
    """
    host = host or Host()
    chosen = host.environ.get("WORKBOOK_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    name = "bimamba-eeg-workbook"
    home = Path(host.environ.get("HOME") or Path("~").expanduser())
    if host.system == "Windows":
        return Path(host.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / name / name / "Cache"
    xdg = host.environ.get("XDG_CACHE_HOME", "").strip()
    if xdg:
        return Path(xdg) / name
    return home / ("Library/Caches" if host.system == "Darwin" else ".cache") / name


def run(command: Sequence[str], timeout: float, environ: Mapping[str, str]) -> tuple[int | None, str, str]:
    """Run a command that may hang, even one that cannot be killed.

    Output goes to files, not pipes, and nobody waits for a killed child: a process that is stuck in a driver call
    survives SIGKILL, and `subprocess.run(timeout=...)` would wait for it forever.

    Parameters
    ----------
    command : sequence of str
    timeout : float
        Seconds.
    environ : mapping
        Environment variables of the command.

    Returns
    -------
    code : int or None
        Exit status; None when the time was up. 127 when the command cannot be started.
    stdout, stderr : str
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=dict(environ), start_new_session=True
            )
        except OSError as error:
            return 127, "", str(error)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            _kill(child)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace").strip())
    return code, texts[0], texts[1]


def _kill(child: subprocess.Popen) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (OSError, AttributeError):  # no process groups on Windows
        child.kill()
    try:
        child.wait(0.5)
    except subprocess.TimeoutExpired:
        child.returncode = -9  # given up: stuck in the kernel


def _system(host: Host) -> str:
    if host.system == "Darwin":
        return f"macOS {platform.mac_ver()[0]}".strip()
    if host.system != "Linux":
        return f"{host.system} {platform.release()}"
    release = host.text("/etc/os-release") or host.text("/usr/lib/os-release")
    name = re.search(r"^PRETTY_NAME=[\"']?([^\"'\n]+)", release, re.MULTILINE)
    return name[1] if name else "Linux"


def _places(host: Host) -> tuple[str, ...]:
    kernel = host.text("/proc/sys/kernel/osrelease")
    board = host.text("/proc/device-tree/model")
    groups = host.text("/proc/1/cgroup")
    found = {
        "Colab": any(name in host.environ for name in ("COLAB_RELEASE_TAG", "COLAB_BACKEND_VERSION", "COLAB_GPU")),
        # MODAL_TOKEN_ID and its like also stand on the machine that calls Modal; these only inside its containers.
        "Modal": "MODAL_TASK_ID" in host.environ or host.environ.get("MODAL_IS_REMOTE") == "1",
        "Jetson": "Jetson" in board or host.file("/etc/nv_tegra_release").exists(),
        # "5.15.167.4-microsoft-standard-WSL2", but "4.4.0-19041-Microsoft" on WSL1; a kernel of one's own has any name.
        "WSL2": "microsoft-standard" in kernel
        or "WSL2" in kernel
        or ("WSL_DISTRO_NAME" in host.environ and host.file("/dev/dxg").exists()),
        "WSL1": kernel.endswith("-Microsoft"),
        "container": host.file("/.dockerenv").exists()
        or host.file("/run/.containerenv").exists()
        or "container" in host.environ
        or re.search(r"docker|kubepods|containerd|lxc", groups) is not None,
    }
    return tuple(place for place, here in found.items() if here)


def _python_kind(host: Host) -> str:
    if sys.prefix != sys.base_prefix:
        return "virtual environment"
    if Path(sys.prefix, "conda-meta").is_dir():
        return "conda environment"
    if Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists() and "Colab" not in _places(host):
        return "externally managed"
    return "system"


def _cpus(host: Host) -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = host.text("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def _memory_gib(host: Host) -> float | None:
    sizes = []
    total = re.search(r"^MemTotal:\s*(\d+) kB", host.text("/proc/meminfo"), re.MULTILINE)
    if total:
        sizes.append(int(total[1]) * 1024)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = host.text(limit)
        if text.isdigit():
            sizes.append(int(text))
    return round(min(sizes) / GIB, 1) if sizes else None


def _free_disk_gib(folder: Path) -> float | None:
    for place in (folder, *folder.parents):
        try:
            return round(shutil.disk_usage(place).free / GIB, 1)
        except OSError:
            continue
    return None


def _gpus(host: Host, places: tuple[str, ...]) -> tuple[tuple[Gpu, ...], str | None, str | None]:
    if host.system == "Darwin":
        return ((Gpu("Apple GPU", kind="mps"),) if host.architecture == "arm64" else ()), None, None
    gpus, driver, fault = _nvidia_smi(host)
    if gpus:
        return gpus, driver, None
    gpus, driver = _driver_files(host, places)
    if not gpus and not fault and _on_pci_bus(host):
        fault = "an NVIDIA GPU is plugged in, but no driver reaches it"
    return gpus, driver, fault


def _nvidia_smi(host: Host) -> tuple[tuple[Gpu, ...], str | None, str | None]:
    tool = shutil.which("nvidia-smi", path=host.environ.get("PATH", os.defpath))
    on_wsl = host.file("/usr/lib/wsl/lib/nvidia-smi")  # WSL2 puts it there, and sudo or a service loses that PATH
    if tool is None and on_wsl.exists():
        tool = str(on_wsl)
    if tool is None:
        return (), None, None
    query = "--query-gpu=name,memory.total,compute_cap,driver_version"
    code, out, err = run([tool, query, "--format=csv,noheader,nounits"], host.timeout, host.environ)
    if code is None:
        return (), None, f"nvidia-smi did not answer within {host.timeout:g} s"
    rows = [[cell.strip() for cell in line.split(",")] for line in out.splitlines()]
    rows = [row for row in rows if len(row) == 4]
    if code != 0 or not rows:
        complaint = (out or err or f"exit status {code}, no output").splitlines()[0]
        return (), None, f"nvidia-smi failed: {complaint}"
    gpus = tuple(
        Gpu(
            name=name,
            memory_gib=round(int(memory) / 1024, 1) if memory.isdigit() else None,  # "[N/A]" on a Jetson
            compute_capability=capability if re.fullmatch(r"\d+\.\d+", capability) else None,
        )
        for name, memory, capability, _ in rows
    )
    return gpus, rows[0][3], None


def _driver_files(host: Host, places: tuple[str, ...]) -> tuple[tuple[Gpu, ...], str | None]:
    version = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", host.text("/proc/driver/nvidia/version") + " ")
    cards = sorted(host.file("/proc/driver/nvidia/gpus").glob("*/information"))
    texts = [host.text(f"/{card.relative_to(host.root)}") for card in cards]
    models = [re.search(r"^Model:\s*(.+)$", text, re.MULTILINE) for text in texts]
    names = [model[1].strip() if model else "NVIDIA GPU" for model in models]
    if not names:
        names = ["NVIDIA GPU" for _ in host.file("/dev").glob("nvidia[0-9]*")]
    if not names and "Jetson" in places:
        board = host.text("/proc/device-tree/model")
        nodes = ("/dev/nvgpu", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu")
        names = [board or "NVIDIA Jetson"] if any(host.file(node).exists() for node in nodes) else []
    if not names and "WSL2" in places and host.file("/usr/lib/wsl/lib/libcuda.so.1").exists():
        names = ["NVIDIA GPU"]
    return tuple(Gpu(name) for name in names), version[1] if version else None


def _on_pci_bus(host: Host) -> bool:
    for vendor in host.file("/sys/bus/pci/devices").glob("*/vendor"):
        device = f"/{vendor.parent.relative_to(host.root)}"
        if host.text(f"{device}/vendor") == "0x10de" and host.text(f"{device}/class").startswith("0x03"):
            return True
    return False
