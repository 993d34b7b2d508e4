"""How fast recordings are prepared and windows read, what that takes in memory and on disk, and how braindecode does.

On recordings of noise, which are made for it and deleted: what they hold makes no difference here. Every ratio is one
of batches that were read right after each other, so that what else the machine does meanwhile touches both.
"""

import importlib.abc
import importlib.machinery
import resource
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import edfio
import numpy as np

from helpers.benchmarks.measurement import summary
from helpers.eeg import CANONICAL, STRIDE, WINDOW, build_manifest, open_store, prepare, read_recording

__all__ = ["measure_data", "missing_data_peer"]

_RATES = (200, 256)  # Hz: one that has to be resampled, and the store's own
_PEERS = {"unloaded": False, "preloaded": True}


def measure_data(recordings=8, minutes=30, batch=32, turns=20, passes=10, workers=2, progress=None):
    """Measure preparation, windows, memory and disk.

    Parameters
    ----------
    recordings, minutes : int
        Recordings of noise, 19 channels, and how long each is. They take 0.6 MB a minute in each of three folders, and
        the preloaded ones 2.3 MB a minute of memory.
    batch : int
        Windows of 60 s in a batch.
    turns : int
        Batches that are timed, of each way to read them, after one that is not counted.
    passes : int
        Over all windows, for the memory.
    workers : int
        Processes that prepare.
    progress : callable, optional
        Called as ``progress(steps_done, steps_in_all)``.

    Returns
    -------
    list of Measurement
        With braindecode only where it can be imported; `missing_data_peer` says so.
    """
    results, done = [], 0
    total = 2 * len(_RATES) + passes + turns

    def step():
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    with tempfile.TemporaryDirectory(prefix="workbook-") as place:
        for rate in _RATES:
            folder, target = Path(place, f"{rate}"), Path(place, f"{rate}.store")
            _write_noise(folder, recordings, minutes, rate)
            step()
            results += _preparation(folder, target, workers, f"{rate} Hz")
            step()
        store = open_store(target)
        stored = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
        float16 = 2 * len(CANONICAL) * sum(recording.n_samples for recording in store.recordings)
        manifest = build_manifest(store)
        results += _memory(store, manifest, batch, passes, step)
        results.append(summary("disk: the store / one float16 copy of its samples", [stored / float16], "x"))
        results += _windows(folder, store, manifest, batch, turns, step)
    return results


def missing_data_peer():
    """One line that says what is missing to measure the peer, None where nothing is."""
    if find_spec("braindecode") is None:
        return "braindecode is not installed, so it was left out: pip install 'bimamba-eeg-workbook[bench]'"
    return None


def _write_noise(folder, recordings, minutes, rate):
    """EDF files of 30 µV noise with hum, so that the notch filter has its part."""
    folder.mkdir()
    times = np.arange(round(60 * minutes * rate)) / rate
    for number in range(recordings):
        random = np.random.default_rng(number)
        signals = []
        for name in CANONICAL:
            samples = random.normal(0, 30, len(times)) + 20 * np.sin(2 * np.pi * 60 * times)
            signals.append(edfio.EdfSignal(samples, rate, label=f"EEG {name}", physical_dimension="uV"))
        edfio.Edf(signals, annotations=[edfio.EdfAnnotation(0, None, "noise")]).write(folder / f"{number}.edf")


def _preparation(folder, target, workers, what):
    before = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    began = time.perf_counter()
    seconds = prepare(folder, target, workers=workers).hours * 3600
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    spent = sum(getattr(after[0], name) - getattr(before[0], name) for name in ("ru_utime", "ru_stime"))
    spent += after[1] - before[1]
    name = f"preparing recordings of {what}"
    return [
        summary(f"{name}, {workers} processes: times faster than real time", [seconds / wall], "x"),
        summary(f"{name}: s of recording in 1 s of one core", [seconds / spent], "x"),
    ]


def _memory(store, manifest, batch, passes, step):
    """Memory of this process after each pass over all windows, against that after the first."""
    random, grown = np.random.default_rng(0), {"own": [], "with the files' pages": []}
    out = np.empty((batch, len(CANONICAL), WINDOW), np.float32)
    for _ in range(passes):
        order = random.permutation(len(manifest))
        for first in range(0, len(order) - batch + 1, batch):
            store.batch([manifest[index] for index in order[first : first + batch]], out=out)
        for name, size in zip(grown, _resident(), strict=False):
            grown[name].append(size)
        step()
    return [
        summary(f"memory, {name}: after pass {passes} more than after pass 1", [sizes[-1] - sizes[0]], "MiB")
        for name, sizes in grown.items()
        if sizes
    ]


def _resident():
    """Memory that is this process's own, and all that is mapped into it, MiB; nothing where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return []
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return [int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS")]


def _windows(folder, store, manifest, batch, turns, step):
    """Random windows into batches: from the store, and by braindecode from the same recordings."""
    random = np.random.default_rng(1)
    readers = {"store": lambda indices: store.batch([manifest[index] for index in indices])}
    if missing_data_peer() is None:
        readers |= {f"braindecode, {name}": _peer(folder, manifest, loaded) for name, loaded in _PEERS.items()}
    seconds = {name: [] for name in readers}
    for turn in range(turns + 1):
        indices = random.integers(len(manifest), size=batch)
        for name, read in readers.items():
            began = time.perf_counter()
            read(indices)
            seconds[name].append((time.perf_counter() - began) / batch)
        if turn:
            step()
    results = [
        summary(f"random 60 s windows, batches of {batch}: {name}", [1e3 * each for each in taken[1:]], "ms/window")
        for name, taken in seconds.items()
    ]
    ours = seconds.pop("store")
    for name, theirs in seconds.items():
        ratios = [other / own for own, other in list(zip(ours, theirs, strict=True))[1:]]
        results.append(summary(f"random 60 s windows: {name} / store", ratios, "x"))
    return results


def _peer(folder, manifest, loaded):
    """The same windows in the same order, as braindecode serves them."""
    _do_without_torchaudio()
    from braindecode.datasets import BaseConcatDataset, RawDataset
    from braindecode.preprocessing import create_fixed_length_windows

    raws = [read_recording(folder / recording.id) for recording in manifest.recordings]
    if loaded:
        for raw in raws:
            raw.load_data(verbose="error")
    dataset = create_fixed_length_windows(
        BaseConcatDataset([RawDataset(raw, description={"file": number}) for number, raw in enumerate(raws)]),
        window_size_samples=WINDOW,
        window_stride_samples=STRIDE,
        drop_last_window=False,
        preload=False,
    )
    if len(dataset) != len(manifest):
        raise RuntimeError(f"braindecode finds {len(dataset)} windows, the manifest {len(manifest)}; expected the same")
    return lambda indices: np.stack([dataset[int(index)][0] for index in indices])


def _do_without_torchaudio():
    """Let braindecode be imported where torchaudio is not, or does not fit this torch.

    braindecode 1.8.1 imports torchaudio, for layers of its networks that are not used here; pip may bring a build that
    fails to load beside a CPU build of torch. For the rest of this process, the name then stands for empty classes.
    """
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "torchaudio":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return _Empty(spec.name)

    def exec_module(self, module):
        pass


class _Empty(ModuleType):
    def __getattr__(self, name):
        return _nothing(name)


class _Nothing(type):
    def __getattr__(cls, name):
        return _nothing(name)


def _nothing(name):
    """A class to inherit from or to take names from, whatever they are."""
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing(name, (), {})
