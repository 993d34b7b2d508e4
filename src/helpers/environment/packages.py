"""Facts about installed distributions: what the workbook asks for in its own metadata, what is there, and which build
of torch it is. It reads metadata and files and imports none of them; whether a package works is not its question.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import urlsplit

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from helpers.environment.probe import Host

DISTRIBUTION = "bimamba-eeg-workbook"


@dataclass(frozen=True)
class Package:
    """A distribution that is asked for.

    Attributes
    ----------
    name : str
    required : str
        Version specifier, such as `>=2`; may be empty.
    version : str or None
        What is installed.
    problem : str or None
        `missing`, `wrong version`, `damaged` (its metadata has no version), or None when it fits.
    """

    name: str
    required: str
    version: str | None
    problem: str | None


@dataclass(frozen=True)
class Torch:
    """The installed torch: `build` is `cpu`, `cuda`, `rocm`, `mps` or `damaged`; `cuda` is its CUDA version."""

    version: str
    build: str
    cuda: str | None = None


def find(host: Host, name: str) -> Distribution | None:
    """Return the first distribution called `name` on the search path, the one that an import takes, or None."""
    return next(iter(Distribution.discover(name=name, path=list(host.path))), None)


def required(host: Host, extra: str = "") -> tuple[Package, ...]:
    """Compare what the workbook asks for with what is installed.

    Parameters
    ----------
    host : Host
        Gives the search path, and the Python version that the markers are read for.
    extra : str
        An extra of the workbook; empty for the base dependencies.

    Returns
    -------
    tuple of Package
        In the order of the metadata; empty where the workbook itself is not installed.
    """
    own = find(host, DISTRIBUTION)
    environment = {
        **default_environment(),
        "python_version": "{}.{}".format(*host.python),
        "python_full_version": "{}.{}.{}".format(*host.python),
    }
    asked = [Requirement(line) for line in (own.requires if own else None) or ()]
    base = {item for item in asked if _applies(item, environment, "")}
    if extra:
        asked = [item for item in asked if item not in base and _applies(item, environment, extra)]
    else:
        asked = [item for item in asked if item in base]
    return tuple(_compare(host, item) for item in asked)


def version_of(host: Host, name: str) -> str | None:
    """Return the installed version of a distribution, or None where it is missing or its metadata is damaged."""
    distribution = find(host, name)
    return _version(distribution) if distribution else None


def torch_build(host: Host) -> Torch | None:
    """Tell which torch is installed, from its metadata and the text of `torch/version.py`.

    Parameters
    ----------
    host : Host

    Returns
    -------
    Torch or None
        None where torch is not installed; build `damaged` where its metadata is there and its files are not.
    """
    distribution = find(host, "torch")
    if distribution is None:
        return None
    stated = _version(distribution) or "of unknown version"
    try:
        text = Path(str(distribution.locate_file("torch/version.py"))).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Torch(stated, "damaged")
    values = dict(re.findall(r"^(__version__|cuda|hip)\b[^=\n]*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE))
    version = values.get("__version__", stated)
    if "cuda" in values:
        return Torch(version, "cuda", values["cuda"])
    if "hip" in values:
        return Torch(version, "rocm")
    return Torch(version, "mps" if (host.system, host.architecture) == ("Darwin", "arm64") else "cpu")


def install_argument(host: Host, extra: str) -> str:
    """Return what to give `pip install` so that it installs `extra` from where the workbook came from.

    Parameters
    ----------
    host : Host
    extra : str

    Returns
    -------
    str
        Quoted for a shell, such as `-e ".[workbook]"`.
    """
    from urllib.request import url2pathname  # here: it loads ssl and email

    own = find(host, DISTRIBUTION)
    checkout = Path(__file__).parents[3]
    if own is None and (checkout / "pyproject.toml").is_file():
        return _folder(checkout, extra, "-e ")
    source = json.loads((own and own.read_text("direct_url.json")) or "{}")
    folder = Path(url2pathname(urlsplit(source.get("url", "")).path))
    if "dir_info" in source and folder.is_dir():
        return _folder(folder, extra, "-e " if source["dir_info"].get("editable") else "")
    links = dict(link.split(", ", 1) for link in own.metadata.get_all("Project-URL") or ()) if own and source else {}
    origin = f" @ git+{links['Repository']}" if "Repository" in links else ""
    return f'"{DISTRIBUTION}[{extra}]{origin}"'


def _folder(folder: Path, extra: str, option: str) -> str:
    if folder == Path.cwd():
        return f'{option}".[{extra}]"'
    return option + shlex.quote(f"{folder}[{extra}]")


def _applies(item: Requirement, environment: dict[str, str], extra: str) -> bool:
    return item.marker is None or item.marker.evaluate({**environment, "extra": extra})


def _compare(host: Host, item: Requirement) -> Package:
    distribution = find(host, item.name)
    version = _version(distribution) if distribution else None
    problem = None
    if distribution is None:
        problem = "missing"
    elif version is None:
        problem = "damaged"
    else:
        try:
            if not item.specifier.contains(version, prereleases=True):
                problem = "wrong version"
        except InvalidVersion:
            problem = "damaged"
    return Package(item.name, str(item.specifier), version, problem)


def _version(distribution: Distribution) -> str | None:
    # Not Distribution.version: it raises for a metadata file that is gone, and parses all of one that is there.
    texts = (distribution.read_text(name) for name in ("METADATA", "PKG-INFO", ""))
    found = re.search(r"^Version:\s*(\S+)", next(filter(None, texts), ""), re.MULTILINE)
    return found[1] if found else None
