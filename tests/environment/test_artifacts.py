"""The archives and wheels of the labs: the right bytes or an error, never something else."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading

import pytest

from helpers.environment import artifacts
from helpers.environment.artifacts import ArtifactError, sdist, unpacked, wheelhouse

NAME = "mamba_ssm-2.2.4.tar.gz"


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("mamba_ssm-2.2.4/setup.py")
        member.size = 12
        tar.addfile(member, io.BytesIO(b"import torch"))
    return content.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on this machine, with one archive, and an empty cache."""
    folder = tmp_path / "index"
    (folder / "mamba-ssm").mkdir(parents=True)
    (folder / "files").mkdir()
    (folder / "files" / NAME).write_bytes(archive())
    page = {"files": [{"filename": NAME, "url": f"../files/{NAME}"}]}
    (folder / "mamba-ssm/index.html").write_text(json.dumps(page))
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://reader:secret@127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
        pinned = {"sdist": {NAME: hashlib.sha256(archive()).hexdigest()}, "wheels": {"tools": []}}
        monkeypatch.setattr(artifacts, "table", lambda _: pinned)
        artifacts._index.cache_clear()
        yield folder
        server.shutdown()
    artifacts._index.cache_clear()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder to whoever knows the password; pages are JSON where their text is."""

    def do_GET(self):
        if self.headers["Authorization"] != "Basic cmVhZGVyOnNlY3JldA==" and not self.path.startswith("/files"):
            self.send_error(401)
        else:
            super().do_GET()

    def guess_type(self, path):
        is_json = path.endswith(".html") and open(path).read(1) == "{"  # noqa: PTH123, SIM115
        return "application/vnd.pypi.simple.v1+json" if is_json else super().guess_type(path)

    def log_message(self, *_):
        pass


def test_fetched_once_checked_and_kept(index, tmp_path):
    path = sdist("mamba-ssm", "2.2.4")
    assert path == tmp_path / "cache/labs" / NAME
    assert path.read_bytes() == archive()
    (index / "files" / NAME).unlink()
    assert sdist("mamba_ssm", "2.2.4") == path
    path.write_bytes(b"cut off")
    with pytest.raises(ArtifactError, match=r"could not be fetched \(HTTP Error 404"):
        sdist("mamba-ssm", "2.2.4")


def test_an_index_of_html_pages(index):
    (index / "mamba-ssm/index.html").write_text(f'<!doctype html><a\nhref="../files/{NAME}#sha256=1">\n{NAME}</a>')
    assert sdist("mamba-ssm", "2.2.4").read_bytes() == archive()


def test_another_content_is_refused_and_not_kept(index, tmp_path):
    (index / "files" / NAME).write_bytes(b"not the archive")
    with pytest.raises(ArtifactError, match=r"sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}\. Nothing was kept"):
        sdist("mamba-ssm", "2.2.4")
    assert not list((tmp_path / "cache").rglob("*mamba*"))


def test_no_network_says_what_to_do(index, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    artifacts._index.cache_clear()
    with pytest.raises(ArtifactError, match=r"Connect to a network and run `workbook data fetch`, or copy it \(sha256"):
        sdist("mamba-ssm", "2.2.4")


def test_a_release_that_is_not_pinned(index):
    with pytest.raises(ArtifactError, match=r"mamba_ssm-9.tar.gz is not pinned, expected one of mamba_ssm-2.2.4"):
        sdist("mamba-ssm", "9")


def test_unpacking(index, tmp_path):
    root = unpacked("mamba-ssm", "2.2.4", tmp_path / "here")
    assert (root / "setup.py").read_text() == "import torch"


def test_the_pinned_archives_and_wheels_are_here():
    """What `make test` fetched before: the labs run on these."""
    assert tarfile.is_tarfile(sdist("causal-conv1d", "1.7.0"))
    names = {path.name.partition("-")[0] for path in wheelhouse("tools", "transformers").glob("*.whl")}
    assert {"setuptools", "wheel", "packaging", "einops", "transformers"} <= names


def test_a_wheel_that_cannot_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ArtifactError, match=r"setuptools==\S+ could not be fetched: pip said 'ERROR: No matching"):
        wheelhouse()
