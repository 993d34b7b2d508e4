"""Recordings of CHB-MIT from PhysioNet, one at a time: fetched by pooch, checked by hash, kept in the cache folder.

The hashes are those of PhysioNet's own ``SHA256SUMS.txt``, read when the first file is fetched and kept: a file that
was damaged on the way is found out, a server that gives false files with false sums is not. The data set: Shoeb 2009;
Goldberger et al. 2000; Open Data Commons Attribution License 1.0. Its recordings are bipolar, but for three (chb12_27
to chb12_29); `helpers.eeg.electrodes_from_pairs` says what that means.
"""

import hashlib
import re

from helpers.eeg.errors import DownloadError, RecordingError
from helpers.environment import cache_folder

__all__ = ["SOURCE", "URL", "cached_chbmit", "fetch_chbmit", "is_chbmit", "summary_of"]

URL = "https://physionet.org/files/chbmit/1.0.0/"
"""Folder with the data set's files."""

SOURCE = "CHB-MIT Scalp EEG Database 1.0.0, https://physionet.org/content/chbmit/1.0.0/, ODC-By 1.0"
"""What to say where a recording of it is used."""

_NAME = re.compile(r"chb\d\d[a-z]?_\d\d\+?")
_SUMS = "SHA256SUMS.txt"


def is_chbmit(name):
    """Whether a name has the form of a recording of CHB-MIT, say ``"chb01_03"``."""
    return _NAME.fullmatch(name) is not None


def cached_chbmit(name):
    """Path of a recording if it and its summary are in the cache and whole, else None."""
    sums = _sums()
    files = [_file(name), summary_of(_file(name))]
    whole = all(file.is_file() and _sha256(file) == sums.get(_key(file)) for file in files)
    return files[0] if whole else None


def fetch_chbmit(name, progress=None):
    """Make sure that a recording and the summary of its case are in the cache.

    Parameters
    ----------
    name : str
        Say ``"chb01_03"``.
    progress : callable, optional
        Called as ``progress(bytes_done, bytes_in_all)`` while the recording (some 40 MB) comes in.

    Returns
    -------
    Path
        Of the recording, an EDF file. The summary, with its seizures, is beside it.

    Raises
    ------
    RecordingError
        If the data set has no such recording.
    DownloadError
        If it cannot be fetched, or what comes has another hash; nothing of it is kept.
    """
    if path := cached_chbmit(name):
        return path
    path = _file(name)
    if not _sums():
        _retrieve(_SUMS, None)
    if _key(path) not in _sums():
        raise RecordingError(f"CHB-MIT has no recording {name!r} ({URL}{_SUMS} lists all). Check the name.")
    _retrieve(_key(summary_of(path)), None)
    _retrieve(_key(path), progress)
    return path


def summary_of(path):
    """Path of the summary of the case that a recording belongs to."""
    return path.with_name(f"{path.name[:5]}-summary.txt")


def _retrieve(key, progress):
    import pooch  # brings requests: 0.1 s for those who fetch something
    from requests.exceptions import RequestException

    sums = _sums()
    downloader = pooch.HTTPDownloader(
        progressbar=_Progress(progress) if progress else False, chunk_size=2**18, timeout=30
    )
    dog = pooch.create(_folder(), URL, registry={key: sums.get(key)}, retry_if_failed=2)
    pooch.get_logger().setLevel("ERROR")  # it writes to the terminal what `progress` shows
    try:
        dog.fetch(key, downloader=downloader)
    except RequestException as fault:
        raise _unreachable(key, fault) from fault
    except OSError as fault:
        raise DownloadError(
            f"{_folder() / key}: cannot be written ({fault.strerror or fault}). Free some space, or choose another "
            "folder with the environment variable WORKBOOK_CACHE."
        ) from fault
    except ValueError as fault:  # pooch's word for another hash
        raise DownloadError(
            f"{URL}{key}: its sha256 is not the one in {_SUMS}, {sums.get(key)}. Nothing was kept. Something on the "
            "way changes the file; try another network."
        ) from fault


def _unreachable(key, fault):
    status = getattr(getattr(fault, "response", None), "status_code", None)
    reason = f"the server says {status}" if status else f"it cannot be reached ({type(fault).__name__})"
    return DownloadError(
        f"{URL}{key}: {reason}. Connect to a network and try again, or copy the file from another machine to "
        f"{_folder() / key}."
    )


def _sha256(file):
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sums():
    """Hash of each file by its path in the data set; empty where they have not been fetched."""
    file = _folder() / _SUMS
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    found = [re.fullmatch(r"([0-9a-f]{64})\s+\*?(\S+)\s*", line) for line in lines]
    return {match[2]: match[1] for match in found if match}


def _folder():
    return cache_folder() / "chbmit"


def _file(name):
    return _folder() / name[:5] / f"{name}.edf"


def _key(file):
    return file.relative_to(_folder()).as_posix()


class _Progress:
    """What pooch expects of a progress bar."""

    def __init__(self, progress):
        self.total, self.done, self.progress = 0, 0, progress

    def update(self, size):
        self.done = min(self.done + size, self.total)
        self.progress(self.done, self.total)

    def reset(self):
        self.done = 0

    def close(self):
        pass
