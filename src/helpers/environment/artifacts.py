"""Source archives and wheels that the labs break for real, fetched once into the cache and checked by hash.

The archives are those of PyPI, byte for byte; `catalogue/artifacts.toml` pins them. A lab then needs no network. What
is fetched is only read, unpacked or given to pip inside a throwaway lab; nothing is installed from here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from helpers.environment.catalogue import table
from helpers.environment.probe import cache_folder

__all__ = ["ArtifactError", "fetch_artifacts", "sdist", "unpacked", "wheelhouse"]

_ANSWERS = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_SECONDS = 60.0


class ArtifactError(Exception):
    """An archive is not in the cache and cannot be had, or is not the one that is pinned."""


def sdist(name: str, version: str) -> Path:
    """Return the source archive of a release, fetched if it is not in the cache yet.

    Parameters
    ----------
    name : str
        `mamba-ssm` or `causal-conv1d`, spelled with `-` or `_`.
    version : str

    Returns
    -------
    Path
        Of the `.tar.gz` in the cache, whole and of the pinned hash.

    Raises
    ------
    ArtifactError
        Where the release is not pinned, or cannot be fetched.
    """
    archive = f"{name.replace('-', '_')}-{version}.tar.gz"
    pinned = table("artifacts.toml")["sdist"]
    if archive not in pinned:
        raise ArtifactError(f"{archive} is not pinned, expected one of {', '.join(pinned)}. Take one of these.")
    path = _folder() / archive
    if not _is_whole(path, pinned[archive]):
        _write(path, _download(archive, pinned[archive]))
    return path


def unpacked(name: str, version: str, folder: str | os.PathLike[str]) -> Path:
    """Unpack a release's source archive into a folder, and return its root, `folder/name-version`.

    Raises
    ------
    ArtifactError
        As `sdist` does.
    """
    archive = sdist(name, version)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # Python 3.10.12, 3.11.4 and later
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder)
    return Path(folder) / archive.name.removesuffix(".tar.gz")


def wheelhouse(*groups: str) -> Path:
    """Return the folder with the wheels that the labs install, for `pip install --no-index --find-links`.

    Parameters
    ----------
    *groups : str
        What has to be in it: `tools` (build tools; when left out), `numpy`, `transformers`.

    Raises
    ------
    ArtifactError
        Where a wheel is missing and cannot be fetched.
    """
    folder = _folder() / "wheels-cp{}{}".format(*sys.version_info)
    for group in groups or ("tools",):
        for wanted in _wheels(group):
            if not _has(folder, wanted):
                folder.mkdir(parents=True, exist_ok=True)
                _pip_download(wanted, folder)
    return folder


def fetch_artifacts(progress: Callable[[int, int], None] | None = None) -> None:
    """Make sure that every archive and wheel of the labs is in the cache.

    Parameters
    ----------
    progress : callable, optional
        Called as `progress(done, in_all)`, counted in archives and groups of wheels.

    Raises
    ------
    ArtifactError
        At the first one that cannot be had; those before it stay.
    """
    pinned = table("artifacts.toml")
    archives, groups = list(pinned["sdist"]), list(pinned["wheels"])
    for done, item in enumerate(archives + groups, start=1):
        if item in groups:
            wheelhouse(item)
        else:
            name, _, version = item.removesuffix(".tar.gz").rpartition("-")
            sdist(name, version)
        if progress:
            progress(done, len(archives) + len(groups))


def _wheels(group: str) -> list[Requirement]:
    wanted = [Requirement(line) for line in table("artifacts.toml")["wheels"][group]]
    return [item for item in wanted if item.marker is None or item.marker.evaluate()]


def _folder() -> Path:
    return cache_folder() / "labs"


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _download(archive: str, digest: str) -> bytes:
    """Read the index and the file ourselves: `pip download` would run the archive's setup.py, which fails by design."""
    try:
        page = f"{_index().rstrip('/')}/{archive.rpartition('-')[0].replace('_', '-')}/"
        content, kind = _read(page, _ANSWERS)
        content, _ = _read(urljoin(page, _link(content.decode(), kind, archive)))
    except (OSError, ValueError, KeyError) as fault:
        raise ArtifactError(
            f"{archive} could not be fetched ({fault}). Connect to a network and run `workbook data fetch`, or copy "
            f"it (sha256 {digest[:12]}…) from another machine to {_folder()}."
        ) from fault
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ArtifactError(f"{archive}: sha256 is {found}, expected {digest}. Nothing was kept; try another network.")
    return content


@lru_cache(maxsize=1)
def _index() -> str:
    """The package index that pip is set up to use."""
    chosen = os.environ.get("PIP_INDEX_URL", "").split()
    if not chosen:
        ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        chosen = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split()
    return chosen[0] if chosen else "https://pypi.org/simple"


def _read(address: str, accept: str = "*/*") -> tuple[bytes, str]:
    import urllib.request  # here: it loads ssl and email, which only a fetch needs

    parts = urlsplit(address)
    headers = {"Accept": accept, "User-Agent": "bimamba-eeg-workbook"}
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=_SECONDS) as answer:
        return answer.read(), answer.headers.get_content_type()


def _link(page: str, kind: str, archive: str) -> str:
    if kind.endswith("json"):
        links = {entry["filename"]: entry["url"] for entry in json.loads(page)["files"]}
    else:  # an older index answers in HTML
        found = re.findall(r"<a\s[^>]*href=[\"']([^\"']+)[\"'][^>]*>\s*([^<\s]+)\s*</a>", page)
        links = {name: address.replace("&amp;", "&") for address, name in found}
    return links[archive]


def _has(folder: Path, wanted: Requirement) -> bool:
    names = [parse_wheel_filename(path.name)[:2] for path in folder.glob("*.whl")]
    return any(name == canonicalize_name(wanted.name) and version in wanted.specifier for name, version in names)


def _pip_download(wanted: Requirement, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{wanted.name}{wanted.specifier}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("ERROR")]
        raise ArtifactError(
            f"{wanted.name}{wanted.specifier} could not be fetched: pip said {(errors or ['nothing'])[-1]!r}. "
            "Connect to a network and run `workbook data fetch`."
        )
