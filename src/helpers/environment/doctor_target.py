"""The environment that the doctor examines: an interpreter, what it would find on its search path, and the texts of the
catalogue as they apply to it. It judges nothing and imports nothing of what it looks at.
"""

from __future__ import annotations

import functools
import importlib.machinery
import json
import os
import re
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

from helpers.environment.catalogue import Failure, failures, table
from helpers.environment.doctor_result import DoctorError, Fault
from helpers.environment.elf import ElfError, Search, read_extension
from helpers.environment.packages import Torch, torch_build, version_of
from helpers.environment.probe import Host, Machine, probe, run

__all__ = ["PACKAGES", "Target", "parsed", "target"]

PACKAGES = {"mamba-ssm": "mamba_ssm", "causal-conv1d": "causal_conv1d"}
SECONDS = 30.0  # that an interpreter may take to start
MARK = "workbook-doctor:"

# Runs under any Python 3. The reader's program has user site, PYTHONPATH and .pth files, so no -I; but not this folder.
FACTS = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import importlib.machinery, json, platform
print(%r + json.dumps({
    "python": sys.version_info[:3], "path": sys.path, "executable": sys.executable, "architecture": platform.machine(),
    "system": platform.system(), "suffixes": importlib.machinery.EXTENSION_SUFFIXES}))
"""


@dataclass(frozen=True)
class Target:
    """What is examined.

    Attributes
    ----------
    host : Host
        The machine, with search path, version and path of the interpreter that is examined.
    suffixes : tuple of str
        Endings of compiled modules that this interpreter imports, such as `.cpython-311-x86_64-linux-gnu.so`.
    """

    host: Host
    suffixes: tuple[str, ...] = field(default_factory=lambda: tuple(importlib.machinery.EXTENSION_SUFFIXES))

    @functools.cached_property
    def machine(self) -> Machine:
        """The machine; with an NVIDIA driver this runs `nvidia-smi`."""
        return probe(self.host)

    @functools.cached_property
    def torch(self) -> Torch | None:
        """The torch that an import takes; one without a record of pip (a build in place) counts too."""
        found = torch_build(self.host)
        if found or self.torch_folder is None:
            return found
        text = self.torch_folder.joinpath("version.py").read_text(errors="replace")
        values = dict(re.findall(r"^(__version__|cuda)\b[^=\n]*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE))
        cuda = values.get("cuda")
        return Torch(values.get("__version__", "of unknown version"), "cuda" if cuda else "cpu", cuda)

    @functools.cached_property
    def torch_folder(self) -> Path | None:
        """Folder of the `torch` package."""
        found = self.module("torch")
        return found if found and found.is_dir() and (found / "version.py").is_file() else None

    @functools.cached_property
    def cxx11_abi(self) -> bool | None:
        """Whether torch speaks the std::string of C++11, from the constructor of its own exception; None: unknown."""
        if self.torch_folder is None or self.host.system != "Linux":
            return None
        try:
            names = read_extension(self.torch_folder / "lib/libc10.so").defined()
        except ElfError:
            return None
        made = [name for name in names if name.startswith("_ZN3c105ErrorC")]
        return any("cxx11" in name for name in made) if made else None

    @property
    def library_path(self) -> str:
        """`LD_LIBRARY_PATH`."""
        return self.host.environ.get("LD_LIBRARY_PATH", "")

    def installed(self, name: str) -> str | None:
        """Version of a distribution; `of unknown version` where only its module is there."""
        version = version_of(self.host, name)
        return version or ("of unknown version" if self.module(PACKAGES.get(name, name)) else None)

    def version(self, name: str) -> Version | None:
        """Version of a distribution, of torch, or of `python`; None where it is missing or is no version."""
        if name == "python":
            return Version(".".join(map(str, self.host.python)))
        text = self.torch.version if name == "torch" and self.torch else version_of(self.host, name)
        return parsed(text)

    def module(self, name: str) -> Path | None:
        """Where an import finds a module that is not compiled: a package's folder, or a file."""
        for folder in map(Path, self.host.path):
            for path in (folder / name / "__init__.py", folder / f"{name}.py"):
                if path.is_file():
                    return path.parent if path.name == "__init__.py" else path
        return None

    def search(self, torch_first: bool = True, library_path: str = "") -> Search:
        """Where the loader looks when this interpreter imports something."""
        return Search(
            torch_first=torch_first,
            torch=self.torch_folder,
            python=Path(self.host.executable),
            library_path=library_path,
            suffixes=self.suffixes,
        )

    def fault(self, id: str, evidence: str, here: str = "", about: str = "", **words: object) -> Fault:
        """Take a failure from the catalogue, with the commands for this place and interpreter.

        Parameters
        ----------
        id : str
            Of `failures.toml` or `doctor.toml`.
        evidence : str
        here : str
            How the cause shows in this case; follows the catalogue's text.
        about : str
            Module that cannot be imported because of it.
        **words
            Fill the braces of `doctor.toml`.
        """
        known = _known(id)
        place = next((name.lower() for name in self.machine.places if name.lower() in known.fix_at), "local")
        steps = (*known.fix, *known.fix_at.get(place, ()))
        if not known.signatures:
            words = {"torch": self.torch_requirement(), **words}
            steps = tuple(step.format_map(words) for step in steps)
        cause = f"{known.cause} Here: {here.rstrip('.')}." if here else known.cause
        return Fault(id, known.title, cause, evidence, tuple(filter(None, map(self.command, steps))), about)

    def command(self, step: str) -> str:
        """Make a step of the catalogue run in this interpreter's environment."""
        # It outranks torch's own folders, in every program that reads it: never recommended.
        step = re.sub(r"\s+LD_LIBRARY_PATH=\S+", "", step)
        found = shutil.which("python", path=self.host.environ.get("PATH", os.defpath))
        own = Path(self.host.executable).absolute()  # not resolved: an environment's python leads to that of its base
        if found and own.exists() and Path(found).absolute().parent == own.parent and Path(found).samefile(own):
            return step
        python = shlex.quote(self.host.executable)
        step = re.sub(r"(?<![\w./-])python (?=-\w)", lambda _: f"{python} ", step)
        return re.sub(r"(?<!-m )(?<![\w./-])pip (?=[a-z])", lambda _: f"{python} -m pip ", step)

    def torch_requirement(self) -> str:
        """What to give `pip install` to get this torch again, or one for this machine where there is none."""
        if self.torch is None or parsed(self.torch.version) is None:
            gpu = any(item.kind == "cuda" for item in self.machine.gpus)
            return "torch" if gpu or self.host.system != "Linux" else f"torch{_index('cpu')}"
        public, _, local = self.torch.version.partition("+")
        return f"torch=={public}" + (_index(local) if re.fullmatch(r"cpu|cu\d+", local) else "")


def target(python: str | os.PathLike[str] | None, site: str | os.PathLike[str] | None, host: Host | None) -> Target:
    """Find out what is to be examined.

    Parameters
    ----------
    python : str or Path, optional
        Another interpreter; it is started once, with a time limit, and imports nothing but the standard library.
    site : str or Path, optional
        A folder of packages that comes first on the search path, as one in PYTHONPATH does.
    host : Host, optional
        The machine; this process and its machine when left out.

    Raises
    ------
    DoctorError
        Where the interpreter cannot be started, or the folder does not exist.
    """
    found = Target(host or _this())
    if python is not None:
        found = _other(os.fspath(python), found.host)
    if site is not None:
        folder = Path(site).absolute()
        if not folder.is_dir():
            raise DoctorError(f"{site} is no folder, expected one of packages. Give a site-packages folder.")
        old = found.host.environ.get("PYTHONPATH", "")
        environ = {**found.host.environ, "PYTHONPATH": f"{folder}{os.pathsep}{old}" if old else str(folder)}
        found = replace(found, host=replace(found.host, path=(str(folder), *found.host.path), environ=environ))
    return found


def parsed(text: str | None) -> Version | None:
    """Return a version, or None where the text is none."""
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return None


def _this() -> Host:
    """This process, without the folder that it was started in: the imports are tried without it too."""
    host = Host()
    return replace(host, path=host.path[1:]) if host.path[:1] in (("",), (str(Path.cwd()),)) else host


def _other(python: str, host: Host) -> Target:
    if os.sep not in python:
        python = shutil.which(python, path=host.environ.get("PATH", os.defpath)) or python
    path = Path(python)
    if path.is_dir():  # of a virtual environment, which is what people have at hand
        path = path / "bin" / "python"
    if not path.is_file():
        raise DoctorError(f"{python}: no such file, expected a Python interpreter. Give its path, as venv/bin/python.")
    command = [str(path.absolute()), "-c", FACTS % MARK]
    code, out, err = run(command, SECONDS, host.environ)
    line = next((line for line in reversed(out.splitlines()) if line.startswith(MARK)), "")
    if not line:
        last = (err or out).strip().splitlines()[-1:] or [f"exit code {code}"]
        said = f"did not start within {SECONDS:g} s" if code is None else f"is no working Python ({last[0]})"
        raise DoctorError(f"{python} {said}. Give the path of a Python 3 interpreter.")
    facts = json.loads(line.removeprefix(MARK))
    suffixes = tuple(facts.pop("suffixes"))
    facts["python"], facts["path"] = tuple(facts["python"]), tuple(facts["path"])
    return Target(replace(host, **facts), suffixes)


@functools.lru_cache(maxsize=1)
def _catalogue() -> dict[str, Failure]:
    own = {
        id: Failure(
            id=id,
            title=entry["title"],
            cause=entry["cause"],
            check="",
            fix=tuple(entry["fix"]),
            chapter="",
            lab="",
            signatures=(),
            examples=(),
            fix_at={place: tuple(steps) for place, steps in entry.get("fix_at", {}).items()},
        )
        for id, entry in table("doctor.toml").items()
    }
    return {**{item.id: item for item in failures()}, **own}


def _known(id: str) -> Failure:
    return _catalogue()[id]


def _index(name: str) -> str:
    return f" --index-url https://download.pytorch.org/whl/{name}"
