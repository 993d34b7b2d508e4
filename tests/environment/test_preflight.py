"""Pre-flight: each check shown red and green, on machines that are made of a folder and a few variables."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import environment
from helpers.environment import Gpu, Host, main, preflight, render

EXTRAS = {
    "workbook": {"torch": "2.13.0", "numpy": "2.4.6", "mne": "1.13.2", "jupyterlab": "4.6.6", "pip": "26.3"},
    "book": {"jupyter-book": "1.0.4.post1"},
}
REQUIRES = """\
Requires-Dist: rich>=13.7
Requires-Dist: torch>=2.4; (python_version >= '3.11') and extra == 'workbook'
Requires-Dist: numpy>=2; (python_version >= '3.11') and extra == 'workbook'
Requires-Dist: mne>=1.10; (python_version >= '3.11') and extra == 'workbook'
Requires-Dist: jupyterlab>=4.3; (python_version >= '3.11') and extra == 'workbook'
Requires-Dist: pip>=25.1; (python_version >= '3.11') and extra == 'workbook'
Requires-Dist: jupyter-book==1.0.4.post1; (python_version >= '3.11') and extra == 'book'
Project-URL: Repository, https://example.org/workbook
"""
H100 = "NVIDIA H100 80GB HBM3, 81559, 9.0, 580.65.06"


class Computer:
    """A machine in a folder: files below `root`, programs in `bin`, distributions in `site`."""

    def __init__(self, folder: Path):
        self.root, self.bin, self.site = folder / "root", folder / "bin", folder / "site"
        for place in (self.root, self.bin, self.site, folder / "home"):
            place.mkdir()
        self.environ = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder / "home")}
        self.install("bimamba-eeg-workbook", "0.1.0", REQUIRES)
        for name, version in {"rich": "15.0.0", **EXTRAS["workbook"], **EXTRAS["book"]}.items():
            self.install(name, version)
        self.torch("2.13.0+cpu", "None")

    def install(self, name: str, version: str, more: str = "") -> None:
        self.remove(name)
        folder = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}")

    def remove(self, name: str) -> None:
        for folder in self.site.glob(f"{name.replace('-', '_')}-*.dist-info"):
            shutil.rmtree(folder)

    def torch(self, version: str, cuda: str) -> None:
        self.install("torch", version)
        self.write(self.site / "torch/version.py", f"__version__ = '{version}'\ncuda: Optional[str] = {cuda}\n")

    def write(self, path: Path | str, text: str = "") -> None:
        path = self.root / path.lstrip("/") if isinstance(path, str) else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def nvidia_smi(self, script: str) -> None:
        self.write(self.bin / "nvidia-smi", f"#!/bin/sh\n{script}\n")
        (self.bin / "nvidia-smi").chmod(0o755)

    def host(self, **facts) -> Host:
        facts = {"python": (3, 12, 3), "system": "Linux", "architecture": "x86_64", "timeout": 5.0, **facts}
        return Host(root=self.root, environ=self.environ, path=(str(self.site),), **facts)

    def report(self, **facts):
        return preflight(self.host(**facts))


@pytest.fixture
def computer(tmp_path):
    return Computer(tmp_path)


def answer(report, name):
    return next(verdict for verdict in report.verdicts if verdict.name == name)


def commands(report):
    return [step for verdict in report.verdicts for step in verdict.todo]


# -- the machine ------------------------------------------------------------------------------------------------------

FINGERPRINTS = [
    ("Colab", {"COLAB_RELEASE_TAG": "release-colab_20261101"}, {}),
    ("Colab", {"COLAB_GPU": "0"}, {}),
    ("Modal", {"MODAL_TASK_ID": "ta-01ABC"}, {}),
    ("Modal", {"MODAL_IS_REMOTE": "1"}, {}),
    ("Jetson", {}, {"/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0"}),
    ("Jetson", {}, {"/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n"}),
    ("WSL2", {}, {"/proc/sys/kernel/osrelease": "5.15.167.4-microsoft-standard-WSL2\n"}),
    ("WSL2", {"WSL_DISTRO_NAME": "Ubuntu"}, {"/proc/sys/kernel/osrelease": "6.6.1-mine", "/dev/dxg": ""}),
    ("WSL1", {}, {"/proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"}),
    ("container", {}, {"/.dockerenv": ""}),
    ("container", {}, {"/run/.containerenv": ""}),
    ("container", {}, {"/proc/1/cgroup": "0::/kubepods/besteffort/pod1\n"}),
]


@pytest.mark.parametrize(("place", "environ", "files"), FINGERPRINTS)
def test_place_is_recognized_by_its_fingerprint(computer, place, environ, files):
    computer.environ.update(environ)
    for path, text in files.items():
        computer.write(path, text)
    report = computer.report()
    assert report.machine.places == (place,)
    assert place in render(report).splitlines()[1]


@pytest.mark.parametrize(
    ("environ", "files"),
    [
        ({}, {}),
        ({"MODAL_TOKEN_ID": "ak-1", "MODAL_ENVIRONMENT": "main"}, {}),  # a machine that calls Modal
        ({}, {"/proc/sys/kernel/osrelease": "6.8.0-1021-azure\n", "/proc/1/cgroup": "0::/init.scope\n"}),
        ({}, {"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0"}),
    ],
)
def test_an_ordinary_machine_has_no_place(computer, environ, files):
    computer.environ.update(environ)
    for path, text in files.items():
        computer.write(path, text)
    assert computer.report().machine.places == ()


def test_distribution_cores_and_memory_respect_the_container(computer):
    computer.write("/etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n')
    computer.write("/proc/meminfo", "MemTotal:       65536000 kB\nMemFree: 1 kB\n")
    computer.write("/sys/fs/cgroup/cpu.max", "50000 100000\n")
    machine = computer.report().machine
    assert (machine.system, machine.cpus, machine.memory_gib) == ("Ubuntu 22.04.5 LTS", 1, 62.5)
    computer.write("/sys/fs/cgroup/memory.max", "4294967296\n")
    assert computer.report().machine.memory_gib == 4.0


def test_cache_folder_follows_xdg_and_a_full_disk_is_red(computer, tmp_path, monkeypatch):
    computer.environ["XDG_CACHE_HOME"] = str(tmp_path / "elsewhere")
    assert computer.report().ready
    assert computer.report().machine.cache_folder == str(tmp_path / "elsewhere/bimamba-eeg-workbook")
    computer.environ["WORKBOOK_CACHE"] = str(tmp_path / "chosen")
    assert computer.report().machine.cache_folder == str(tmp_path / "chosen")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**28))
    report = computer.report()
    assert not report.ready
    assert "0.2 GiB free" in answer(report, "Notebooks on CPU").reason
    assert any("WORKBOOK_CACHE" in step for step in commands(report))


# -- the GPU ----------------------------------------------------------------------------------------------------------


def test_without_a_gpu_the_notebooks_run_on_the_cpu(computer):
    report = computer.report()
    assert report.ready
    assert report.machine.gpus == ()
    assert answer(report, "Notebooks on GPU").answer == "no"
    assert commands(report) == []  # nothing is wrong, so nothing is to be done


def test_nvidia_smi_answers(computer):
    computer.nvidia_smi(f"echo '{H100}'; echo '{H100}'")
    computer.torch("2.13.0+cu130", "'13.0'")
    report = computer.report()
    assert report.machine.gpus == (Gpu("NVIDIA H100 80GB HBM3", "cuda", 79.6, "9.0"),) * 2
    assert report.machine.driver == "580.65.06"
    assert answer(report, "Notebooks on GPU").answer == "yes"
    assert "2 x NVIDIA H100 80GB HBM3, 79.6 GiB" in render(report)


def test_nvidia_smi_fails(computer):
    computer.nvidia_smi('echo "NVIDIA-SMI has failed because it couldn\'t communicate with the driver."; exit 9')
    report = computer.report()
    verdict = answer(report, "Notebooks on GPU")
    assert verdict.answer == "no"
    assert "couldn't communicate" in verdict.reason
    assert verdict.todo
    assert report.ready  # on the CPU


def test_nvidia_smi_hangs_with_a_child_that_holds_its_output(computer):
    computer.nvidia_smi("sleep 60 & sleep 60")
    computer.write("/dev/nvidia0")
    start = time.monotonic()
    report = computer.report(timeout=0.3)
    assert time.monotonic() - start < 5  # seconds; the children sleep for 60
    assert "did not answer within 0.3 s" in answer(report, "Notebooks on GPU").reason
    assert "did not answer" in render(report)


def test_driver_files_speak_where_nvidia_smi_is_missing(computer):
    computer.write(
        "/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version: 12\n",
    )
    computer.write("/proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA A10G\nIRQ: 41\n")
    machine = computer.report().machine
    assert machine.gpus == (Gpu("NVIDIA A10G"),)
    assert machine.driver == "535.183.01"


@pytest.mark.parametrize(
    "files",
    [
        {"/dev/nvidia0": "", "/dev/nvidiactl": ""},
        {"/proc/device-tree/model": "NVIDIA Jetson AGX Orin\0", "/dev/nvhost-gpu": ""},
        {"/proc/sys/kernel/osrelease": "6.6.87-microsoft-standard-WSL2", "/usr/lib/wsl/lib/libcuda.so.1": ""},
    ],
)
def test_a_device_is_enough_to_find_a_gpu(computer, files):
    for path, text in files.items():
        computer.write(path, text)
    assert len(computer.report().machine.gpus) == 1


def test_nvidia_smi_of_wsl_is_found_off_the_path(computer):
    computer.write("/usr/lib/wsl/lib/nvidia-smi", f"#!/bin/sh\necho '{H100}'\n")
    (computer.root / "usr/lib/wsl/lib/nvidia-smi").chmod(0o755)
    assert computer.report().machine.driver == "580.65.06"


@pytest.mark.parametrize(("place", "step"), [({}, "Install the NVIDIA driver"), ({"container": "lxc"}, "--gpus all")])
def test_a_gpu_without_a_driver_is_named(computer, place, step):
    computer.environ.update(place)
    computer.write("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    computer.write("/sys/bus/pci/devices/0000:01:00.0/class", "0x040300\n")  # its sound device
    assert computer.report().machine.gpu_fault is None
    computer.write("/sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n")
    report = computer.report()
    assert "no driver" in report.machine.gpu_fault
    assert any(step in line for line in commands(report))


@pytest.mark.parametrize(
    ("gpu", "torch", "reason", "step"),
    [
        (H100, ("2.13.0+cpu", "None"), "not a CUDA build", "install --force-reinstall torch"),
        ("Tesla T4, 15360, 7.5, 535.183.01", ("2.13.0", "'13.0'"), "needs driver 580, here is 535", "whl/cu126"),
        ("Tesla V100, 16384, 7.0, 580.65", ("2.13.0", "'13.0'"), "capability 7.5, here is 7.0", "whl/cu126"),
        ("Tesla T4, 15360, 7.5, 470.1", ("2.5.1", "'12.4'"), "needs driver 525", "Install an NVIDIA driver 525"),
    ],
)
def test_a_torch_that_does_not_fit_the_gpu_is_red(computer, gpu, torch, reason, step):
    computer.nvidia_smi(f"echo '{gpu}'")
    computer.torch(*torch)
    verdict = answer(computer.report(), "Notebooks on GPU")
    assert verdict.answer == "no"
    assert reason in verdict.reason
    assert step in verdict.todo[-1]


def test_a_hidden_gpu_is_red(computer):
    computer.nvidia_smi(f"echo '{H100}'")
    computer.torch("2.13.0", "'13.0'")
    computer.environ["CUDA_VISIBLE_DEVICES"] = "0"
    assert answer(computer.report(), "Notebooks on GPU").answer == "yes"
    computer.environ["CUDA_VISIBLE_DEVICES"] = ""
    assert answer(computer.report(), "Notebooks on GPU").todo == ("unset CUDA_VISIBLE_DEVICES",)


def test_a_mac_has_its_own_gpu(computer):
    report = computer.report(system="Darwin", architecture="arm64")
    assert report.torch.build == "mps"
    assert answer(report, "Notebooks on GPU").answer == "partly"
    assert "MPS" in render(report)
    assert computer.report(system="Darwin", architecture="x86_64").machine.gpus == ()


@pytest.mark.parametrize("place", [{"COLAB_GPU": "0"}, {"MODAL_TASK_ID": "ta-1"}])
def test_a_cloud_without_a_gpu_says_how_to_get_one(computer, place):
    computer.environ.update(place)
    assert len(answer(computer.report(), "Notebooks on GPU").todo) == 1


# -- the packages -----------------------------------------------------------------------------------------------------


def test_everything_is_there(computer):
    report = computer.report()
    assert report.ready
    assert {item.name for item in report.packages} == {"rich", *EXTRAS["workbook"]}
    assert all(item.problem is None for item in report.packages)
    assert [answer(report, name).answer for name in ("Building the book", "JupyterLab")] == ["yes", "yes"]


def test_a_missing_torch_is_named_with_the_command_for_a_cpu(computer):
    computer.remove("torch")
    report = computer.report()
    assert not report.ready
    assert report.torch is None
    assert answer(report, "Notebooks on CPU").reason == "torch is missing"
    index, rest = answer(report, "Notebooks on CPU").todo
    assert index.endswith("-m pip install torch --index-url https://download.pytorch.org/whl/cpu")
    assert rest.endswith('-m pip install "bimamba-eeg-workbook[workbook]"')
    computer.nvidia_smi(f"echo '{H100}'")
    (only,) = answer(computer.report(), "Notebooks on CPU").todo  # PyPI's torch is the right one for this GPU
    assert "--index-url" not in only


def test_an_old_package_is_named_with_what_is_needed(computer):
    computer.install("numpy", "1.26.4")
    report = computer.report()
    assert not report.ready
    assert answer(report, "Notebooks on CPU").reason == "numpy 1.26.4 is not >=2"
    assert "numpy 1.26.4 (needs >=2)" in render(report)


def test_damaged_installations_are_red(computer):
    (computer.site / "torch/version.py").unlink()
    report = computer.report()
    assert report.torch.build == "damaged"
    assert "--force-reinstall torch" in answer(report, "Notebooks on CPU").todo[-1]
    next(computer.site.glob("mne-*/METADATA")).unlink()
    assert {item.name: item.problem for item in computer.report().packages}["mne"] == "damaged"
    render(computer.report())


@pytest.mark.parametrize(
    ("version", "cuda", "build"),
    [("2.13.0+cpu", "None", "cpu"), ("2.14.1+cu130", "'13.0'", "cuda"), ("2.9.0", "None\nhip = '6.4'", "rocm")],
)
def test_torch_build_is_read_without_an_import(computer, version, cuda, build):
    computer.torch(version, cuda)
    torch = computer.report().torch
    assert (torch.version, torch.build) == (version, build)
    assert torch.cuda == ("13.0" if build == "cuda" else None)


@pytest.mark.parametrize(("name", "verdict"), [("jupyterlab", "JupyterLab"), ("jupyter-book", "Building the book")])
def test_jupyterlab_and_the_book_go_red_alone(computer, name, verdict):
    computer.remove(name)
    report = computer.report()
    assert answer(report, verdict).answer == "no"
    assert answer(report, verdict).todo
    assert report.ready == (name == "jupyter-book")


def test_a_missing_pip_comes_first(computer):
    computer.remove("pip")
    assert "-m ensurepip" in commands(computer.report())[0]


@pytest.mark.parametrize(
    ("source", "argument"),
    [
        ({"url": "file://{here}", "dir_info": {"editable": True}}, "-e '{here}[workbook]'"),
        ({"url": "file://{here}", "dir_info": {}}, "install '{here}[workbook]'"),
        (
            {"url": "file:///gone", "dir_info": {}},
            '"bimamba-eeg-workbook[workbook] @ git+https://example.org/workbook"',
        ),
    ],
)
def test_the_command_installs_from_where_the_workbook_came(computer, source, argument):
    computer.remove("mne")
    text = json.dumps(source).replace("{here}", str(computer.root))
    computer.write(next(computer.site.glob("bimamba*")) / "direct_url.json", text)
    (command,) = set(answer(computer.report(), "Notebooks on CPU").todo)
    assert command.endswith(argument.replace("{here}", str(computer.root)))


def test_the_workbook_itself_is_missing(computer):
    computer.remove("bimamba-eeg-workbook")
    report = computer.report()
    assert not report.ready
    assert report.workbook is None
    assert "the workbook is not installed" in render(report)


def test_an_externally_managed_python_gets_an_environment_first(computer, monkeypatch, tmp_path):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    computer.remove("mne")
    first, second = answer(computer.report(), "Notebooks on CPU").todo
    assert first == "python3 -m venv .venv && . .venv/bin/activate"
    assert second.startswith("python -m pip install")


# -- the official kernels ---------------------------------------------------------------------------------------------


@pytest.fixture
def gpu_computer(computer):
    computer.nvidia_smi(f"echo '{H100}'")
    computer.torch("2.13.0", "'13.0'")
    computer.write(computer.site / "torch/__init__.py")
    return computer


def test_official_kernels_are_optional(gpu_computer):
    report = gpu_computer.report()
    assert report.ready
    assert answer(report, "mamba-ssm kernels").answer == "no"
    gpu_computer.install("mamba-ssm", "2.3.2.post1")
    reason = answer(gpu_computer.report(), "mamba-ssm kernels").reason
    assert "causal-conv1d not installed" in reason
    assert "mamba-ssm" not in reason


def test_installed_kernels_are_tried_not_trusted(gpu_computer):
    for name in ("mamba-ssm", "causal-conv1d"):
        gpu_computer.install(name, "1.2.3")
        gpu_computer.write(gpu_computer.site / f"{name.replace('-', '_')}.py")
    verdict = answer(gpu_computer.report(), "mamba-ssm kernels")
    assert (verdict.answer, verdict.reason) == ("yes", "both import")
    gpu_computer.write(gpu_computer.site / "causal_conv1d.py", "raise ImportError('undefined symbol: _ZN3c10')")
    verdict = answer(gpu_computer.report(), "mamba-ssm kernels")
    assert verdict.answer == "no"
    assert "undefined symbol: _ZN3c10" in verdict.reason
    assert gpu_computer.report().ready


# -- Python, Windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("python", "ready"), [((3, 10, 12), False), ((3, 11, 0), True), ((3, 14, 1), True)])
def test_the_notebooks_need_python_311(computer, python, ready):
    report = computer.report(python=python)
    assert report.ready is ready
    assert (report.verdicts[0].name == "Environment tools") is not ready
    if not ready:
        screen = render(report)
        assert "need Python 3.11 or later, found 3.10" in screen
        assert "python3.11 -m venv" in screen


def test_windows_is_sent_to_wsl(computer):
    report = computer.report(system="Windows")
    assert not report.ready
    assert "wsl --install" in commands(report)


# -- the screen and the command ---------------------------------------------------------------------------------------


def broken_machines(computer):
    """Yield ever worse machines."""
    yield computer.host()
    yield computer.host(python=(3, 10, 12))
    yield computer.host(system="Windows")
    computer.write("/etc/os-release", f'PRETTY_NAME="{"A distribution with a long name " * 5}"')
    computer.environ["XDG_CACHE_HOME"] = "/nowhere/" + "deep/" * 30
    computer.nvidia_smi(f"echo 'NVIDIA {'Long ' * 30}, 81559, 9.0, 470.65.06'")
    yield computer.host(executable="/opt/" + "long/" * 12 + "bin/python")
    computer.nvidia_smi(f"echo '{'a long complaint ' * 20}'; exit 1")
    for name in ("torch", "numpy", "mne", "jupyterlab", "pip", "jupyter-book", "rich"):
        computer.remove(name)
        yield computer.host()
    computer.install("bimamba-eeg-workbook", "0.1.0", REQUIRES.replace("rich", "a-package-with-a-very-long-name") * 9)
    yield computer.host()
    yield computer.host(executable="/opt/environment with spaces/bin/python")
    shutil.rmtree(computer.site)
    yield computer.host()


def test_every_report_fits_one_screen(computer):
    for host in broken_machines(computer):
        report = preflight(host)
        plain = render(report)
        assert len(plain.splitlines()) <= 24, plain
        assert max(map(len, plain.splitlines())) <= 80, plain
        assert "\033" not in plain
        assert re.sub(r"\033\[\d+m", "", render(report, color=True)).split() == plain.split()
        assert "\033[3" in render(report, color=True)
        for verdict in report.verdicts:
            assert re.search(rf"^  {verdict.name} +{verdict.answer}\b", plain, re.MULTILINE)
        assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_a_folded_command_is_still_a_command(computer):
    computer.remove("torch")
    executable = "/opt/" + "long/" * 5 + "bin/python"
    screen = render(computer.report(executable=executable))
    folded = re.sub(r" \\\n +", " ", screen)
    assert folded != screen
    assert f"{executable} -m pip install torch --index-url https://download.pytorch.org/whl/cpu" in folded


def test_json_holds_the_same_facts(capsys):
    code = main(["preflight", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts == {**preflight().to_dict(), "machine": facts["machine"]}  # free disk may differ by now
    assert code == (0 if facts["ready"] else 1)


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["nonsense"], 2), (["--nonsense"], 2)])
def test_usage(argv, code, capsys):
    assert main(argv) == code
    text = capsys.readouterr()
    assert "usage: python -m helpers.environment" in text.out + text.err


def test_no_arguments_mean_preflight(capsys):
    code = main([])
    out = capsys.readouterr().out
    assert "What will run here" in out
    assert code == (0 if ": ready" in out.splitlines()[0] else 1)


def environment_command(*arguments, **environ):
    command = [sys.executable, "-m", "helpers.environment", *arguments]
    environ = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)


def test_the_command_in_a_process_of_its_own():
    done = environment_command()
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    assert "\033" not in done.stdout
    assert json.loads(environment_command("--json").stdout)["ready"] == (done.returncode == 0)


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_color_only_on_a_terminal_without_no_color(no_color, colored):
    pty = pytest.importorskip("pty", reason="pseudo-terminals exist on POSIX only")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "helpers.environment"]
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "NO_COLOR": no_color}):
        os.close(theirs)
        text = b""
        try:
            while block := os.read(ours, 4096):
                text += block
        except OSError:  # Linux says the end of a terminal so
            pass
    os.close(ours)
    assert (b"\033[" in text) is colored


FORBIDDEN = "torch numpy scipy mne h5py matplotlib timescoring typer rich edfio jupytext nbclient ipywidgets"


def loaded_by(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_nothing_heavy_is_imported():
    loaded = loaded_by("import helpers.environment\nhelpers.environment.render(helpers.environment.preflight())")
    assert "helpers.environment.report" in loaded
    assert not loaded & set(FORBIDDEN.split())
    assert {name for name in loaded if re.match(r"helpers\.(?!environment)", name)} == set()


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import helpers.environment", set()),
        ("from helpers.environment import cache_folder, keep_freed_memory", {"memory", "probe"}),
        (
            "from helpers.environment import Lab, fetch_artifacts",
            {"artifacts", "catalogue", "compiling", "labs", "probe"},
        ),
    ],
)
def test_an_import_loads_what_it_names_and_no_network(code, modules):
    loaded = loaded_by(code)
    assert {name.partition("environment.")[2] for name in loaded if name.startswith("helpers.environment.")} == modules
    assert not loaded & {"urllib.request", "http.client", "ssl", "email"}  # together they took 40 ms of each import


def test_every_public_name_is_there():
    assert set(environment.__all__) <= set(dir(environment))
    for name in environment.__all__:
        assert getattr(environment, name).__module__.startswith("helpers.environment."), name
    with pytest.raises(AttributeError, match=r"module 'helpers.environment' has no attribute 'preflights'"):
        environment.preflights  # noqa: B018
