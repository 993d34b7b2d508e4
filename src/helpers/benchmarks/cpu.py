"""Times on this machine's CPU: start-up of the package, one Mamba-2 layer, the detector on a window and a recording.

The speed of a plain convolution is measured in the same run: it says how fast the machine was meanwhile, and how much
of that the detector reaches.
"""

import subprocess
import sys
import time

import torch
import torch.nn.functional as F

from helpers.benchmarks.layer import measure_layer
from helpers.benchmarks.measurement import summary
from helpers.detection import detect_by_network, load_detector
from helpers.eeg import WINDOW, cached, load
from helpers.environment import keep_freed_memory
from helpers.models import fuse_for_inference

__all__ = ["measure_cpu"]


def measure_cpu(repeats=15, progress=None):
    """Measure on the CPU, in some minutes on two cores.

    Parameters
    ----------
    repeats : int
        Of each short measurement, after one that is not counted. The recording is measured once, and only if it is in
        the cache.
    progress : callable, optional
        Called as ``progress(windows_done, windows_in_all)`` while the recording runs.

    Returns
    -------
    list of Measurement
    """
    results = [
        summary("start Python and import helpers, beyond Python alone", _import_times(repeats), "ms"),
        summary("workbook --help", _process_times(["-m", "helpers.cli", "--help"], repeats), "ms"),
        *_window(repeats),
        *measure_layer(repeats),
    ]
    if cached("absence"):
        raw = load("absence")
        began = time.perf_counter()
        detect_by_network(raw, device="cpu", progress=progress)
        factor = raw.n_times / raw.info["sfreq"] / (time.perf_counter() - began)
        results.append(
            summary("30-minute recording, preprocessing included: times faster than real time", [factor], "x")
        )
    return results


def _process_times(arguments, repeats):
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - began) * 1e3)
    return times[1:]


def _import_times(repeats):
    pairs = zip(_process_times(["-c", "import helpers"], repeats), _process_times(["-c", ""], repeats), strict=True)
    return [with_helpers - without for with_helpers, without in pairs]


def _window(repeats):
    """One window through the detector, and one of its own convolutions between any two of them."""
    keep_freed_memory()
    model = fuse_for_inference(load_detector()[0])
    window = torch.randn(1, 19, WINDOW)
    image, kernel = torch.randn(1, 512, 1, 1920).to(memory_format=torch.channels_last), torch.randn(512, 512, 1, 5)
    operations = 2 * kernel.numel() * image.shape[-1]
    seconds, rates = [], []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            began = time.perf_counter()
            model(window)
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            F.conv2d(image, kernel, padding=(0, 2))
            rates.append(operations / (time.perf_counter() - began) / 1e9)
    threads = torch.get_num_threads()
    return [
        summary(f"one 60 s window through the detector, {threads} threads", [s * 1e3 for s in seconds[1:]], "ms"),
        summary("meanwhile, a 512 -> 512 convolution of width 5", rates[1:], "GFLOP/s"),
    ]
