"""CHB-MIT from a server on this machine with files of the same layout: what arrives whole is kept, nothing else."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np
import pytest

from helpers.eeg import (
    DownloadError,
    RecordingError,
    cached,
    electrodes_from_pairs,
    fetch,
    load,
    repairs,
    seizures,
    seizures_of,
    subject_of,
)

PAIRS = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 FP2-F8 F8-T8 T8-P8 P8-O2 FZ-CZ CZ-PZ"
)
PAIRS = [*PAIRS.split(), "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8"]
SUMMARY = """\
Data Sampling Rate: 256 Hz

File Name: chb02_16.edf
Number of Seizures in File: 0

File Name: chb02_16+.edf
File Start Time: 11:42:54
File End Time: 11:43:05
Number of Seizures in File: 2
Seizure 1 Start Time: 2 seconds
Seizure 1 End Time: 5 seconds
Seizure 2 Start Time: 7 seconds
Seizure 2 End Time: 8 seconds
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What the server has, by path: one recording of 11 s, one pair in it twice, and its summary."""
    import edfio

    random = np.random.default_rng(6)
    nodes = {name: random.normal(0, 30, 11 * 256) for pair in PAIRS for name in pair.split("-")}
    signals = [
        edfio.EdfSignal(nodes[a] - nodes[b], 256, label=f"{a}-{b}", physical_dimension="uV")
        for a, b in (pair.split("-") for pair in PAIRS)
    ]
    path = tmp_path_factory.mktemp("chbmit") / "a.edf"
    edfio.Edf(signals).write(path)
    files = {"chb02/chb02_16+.edf": path.read_bytes(), "chb02/chb02-summary.txt": SUMMARY.encode()}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in files.items())
    return {**files, "SHA256SUMS.txt": f"{'0' * 64} chb01/chb01_01.edf\n{sums}".encode()}


class Server(BaseHTTPRequestHandler):
    """The files of `server.files`; paths in `server.cut` end half way."""

    def do_GET(self):
        path = unquote(self.path).removeprefix("/files/chbmit/1.0.0/")
        self.server.asked.append(path)
        if path not in self.server.files:
            return self.send_error(404)
        content = self.server.files[path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if path in self.server.cut else content)

    def log_message(self, *words):
        pass


@pytest.fixture
def server(published, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.files, server.cut, server.asked = dict(published), set(), []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr("helpers.eeg.chbmit.URL", f"http://127.0.0.1:{server.server_port}/files/chbmit/1.0.0/")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)  # between tries
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def kept(tmp_path):
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def test_a_recording_comes_with_its_summary_and_progress_and_once(server, published, tmp_path):
    assert cached("chb02_16+") is None
    seen = []
    path = fetch("chb02_16+", lambda done, total: seen.append((done, total)))
    size = len(published["chb02/chb02_16+.edf"])
    assert path.read_bytes() == published["chb02/chb02_16+.edf"]
    assert seen[-1] == (size, size)
    assert all(done <= total == size for done, total in seen)
    assert kept(tmp_path) == ["SHA256SUMS.txt", "chb02-summary.txt", "chb02_16+.edf"]
    server.asked.clear()
    assert cached("chb02_16+") == fetch("chb02_16+") == path
    assert server.asked == []


def test_load_has_the_seizures_and_what_the_pairs_say(server):
    raw = load("chb02_16+")
    assert seizures(raw) == seizures_of(raw) == [(2, 5), (7, 8)]
    assert raw.info["sfreq"] == 256
    assert subject_of(raw.filenames[0]) == "chb02"
    assert repairs(electrodes_from_pairs(raw)) == ("16 electrodes from 23 bipolar channels",)


def test_a_file_that_was_changed_on_the_way(server, tmp_path):
    content = server.files["chb02/chb02_16+.edf"]
    server.files["chb02/chb02_16+.edf"] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(DownloadError, match=r"chb02_16\+\.edf: its sha256 is not the one in SHA256SUMS\.txt"):
        fetch("chb02_16+")
    assert kept(tmp_path) == ["SHA256SUMS.txt", "chb02-summary.txt"]
    server.files["chb02/chb02_16+.edf"] = content
    assert fetch("chb02_16+").read_bytes() == content


def test_a_connection_that_always_breaks(server, tmp_path):
    server.cut = {"chb02/chb02_16+.edf"}
    with pytest.raises(DownloadError, match=r"chb02_16\+\.edf: it cannot be reached .* copy the file"):
        fetch("chb02_16+")
    assert server.asked.count("chb02/chb02_16+.edf") == 3
    assert kept(tmp_path) == ["SHA256SUMS.txt", "chb02-summary.txt"]


def test_a_damaged_file_in_the_cache_is_replaced(server, published):
    path = fetch("chb02_16+")
    path.write_bytes(path.read_bytes()[:-1])
    assert cached("chb02_16+") is None
    assert fetch("chb02_16+").read_bytes() == published["chb02/chb02_16+.edf"]


def test_names_that_are_none(server):
    with pytest.raises(RecordingError, match="CHB-MIT has no recording 'chb02_99'"):
        fetch("chb02_99")
    with pytest.raises(RecordingError, match=r"no data set is named 'chb02'.* such as chb01_03"):
        fetch("chb02")


def test_a_file_that_the_server_does_not_have(server):
    with pytest.raises(DownloadError, match=r"chb01-summary\.txt: the server says 404"):
        fetch("chb01_01")


def test_no_network(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"SHA256SUMS\.txt: it cannot be reached .* copy the file") as caught:
        fetch("chb02_16+")
    assert "\n" not in str(caught.value)
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="WORKBOOK_CACHE"):
        fetch("chb02_16+")
