"""The layer that is tried: imports, each in a fresh process of the examined interpreter, with a time limit. What such a
process prints is named by `explain`. Nothing is imported into this process.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from helpers.environment.diagnosis import explain
from helpers.environment.doctor_result import Fault, Layer
from helpers.environment.doctor_target import MARK, Target
from helpers.environment.probe import run

__all__ = ["Imports", "try_imports"]

SECONDS = 180.0  # a cold network disk takes minutes for a CUDA build of torch
CODES = {
    "torch": "import torch",
    "causal_conv1d": "import torch, causal_conv1d",
    "mamba_ssm": "import mamba_ssm",
}
# After the import: which compiled modules came with it, and what mamba_ssm lacks without saying so.
RUNNER = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
%s
said = {"loaded": [name for name in ("causal_conv1d_cuda", "selective_scan_cuda") if name in sys.modules]}
if "torch" in sys.modules and %r:
    import torch
    said["gpu"] = bool(torch.cuda.is_available())
if "mamba_ssm" in sys.modules:
    try:
        import mamba_ssm.ops.selective_scan_interface as scan
        names = vars(scan)
        said["empty"] = [name for name in names if name.startswith("causal_conv1d") and names[name] is None]
    except Exception:
        pass
import json
print("\\n" + %r + json.dumps(said))
"""


@dataclass(frozen=True)
class Imports:
    """What the imports showed.

    Attributes
    ----------
    layer : Layer
    loaded : frozenset of str
        Modules that were imported, compiled ones included: no prediction stands against these any more.
    gpu : bool or None
        Whether torch reaches a GPU; None where that was not asked.
    rescued : Fault or None
        Set where an import fails with LD_LIBRARY_PATH and succeeds without it; its `about` is the module.
    """

    layer: Layer
    loaded: frozenset[str] = frozenset()
    gpu: bool | None = None
    rescued: Fault | None = None


@dataclass
class _Trial:
    """One import: its exit status (None: time was up), what it printed, and what it said of itself."""

    code: int | None
    output: str
    seconds: float
    said: dict = field(default_factory=dict)

    @property
    def worked(self) -> bool:
        return self.code == 0 and bool(self.said)

    @property
    def last(self) -> str:
        if self.code is not None and self.code < 0:
            known = {int(number): number.name for number in signal.Signals}
            return f"ended by {known.get(-self.code, f'signal {-self.code}')}"
        lines = [line for line in self.output.splitlines() if line.strip() and not line.startswith(MARK)]
        errors = [line for line in lines if re.match(r"[\w.]*(?:Error|Exception|Interrupt)\b", line)]
        return (errors or lines or [f"exit code {self.code}, nothing printed"])[-1].strip()


def try_imports(target: Target, progress: Callable[[str], object], rescue: bool) -> Imports:
    """Import torch, and of causal_conv1d and mamba_ssm what is installed.

    Parameters
    ----------
    target : Target
    progress : callable
        Called with a line of text before each import.
    rescue : bool
        Whether an import that fails is tried again without LD_LIBRARY_PATH; no use where the files tell why it fails.
    """
    if target.torch is None and not target.installed("mamba-ssm") and not target.installed("causal-conv1d"):
        return Imports(Layer("imports", "not here", "nothing to import"))
    names = [name for name in CODES if name == "torch" or target.installed(name.replace("_", "-"))]
    faults, done, loaded = [], [], set()
    gpu, rescued, environ = None, None, dict(target.host.environ)
    asks_gpu = any(item.kind == "cuda" for item in target.machine.gpus)
    for name in names:
        progress(f"{CODES[name]} (at most {SECONDS:g} s)")
        trial = _try(target, name, environ, asks_gpu and name == "torch")
        if rescue and not trial.worked and environ.get("LD_LIBRARY_PATH"):
            without = {key: value for key, value in environ.items() if key != "LD_LIBRARY_PATH"}
            progress(f"{CODES[name]} without LD_LIBRARY_PATH")
            second = _try(target, name, without, asks_gpu and name == "torch")
            if second.worked:
                said = f"{CODES[name]} fails with it ({trial.last}) and works without it"
                rescued = rescued or target.fault("D3", said, about=name, folder="the folder of those libraries")
                trial, environ = second, without
        if trial.worked:
            done.append(f"{name} {trial.seconds:.1f} s")
            loaded |= {name, *trial.said["loaded"]}
            gpu = trial.said.get("gpu", gpu)
            if trial.said.get("empty") and "causal_conv1d" in loaded:  # else its own failure is told already
                faults.append(_swallowed(target, trial))
            continue
        faults.append(_why(target, name, trial))
        if name == "torch":  # the others import it first
            break
    if gpu is False and target.torch and target.torch.cuda and not _hidden(target):
        faults.append(target.fault("D8", "torch.cuda.is_available() is False"))
    done += [f"{fault.about} fails" for fault in faults if fault.about]
    summary = ", ".join(done) + (", without LD_LIBRARY_PATH" if rescued else "")
    layer = Layer("imports", "broken" if faults else "ok", summary, tuple(faults))
    return Imports(layer, frozenset(loaded), gpu, rescued)


def _try(target: Target, name: str, environ: Mapping[str, str], asks_gpu: bool) -> _Trial:
    code = RUNNER % (CODES[name], asks_gpu, MARK)
    start = time.monotonic()
    # No bytecode: a lab changes a file twice within a second, and what is examined stays as it is.
    environ = {**environ, "PYTHONDONTWRITEBYTECODE": "1"}
    status, out, err = run([target.host.executable, "-c", code], SECONDS, environ)
    trial = _Trial(status, f"{out}\n{err}", time.monotonic() - start)
    line = next((line for line in reversed(out.splitlines()) if line.startswith(MARK)), "")
    if line:
        trial.said = json.loads(line.removeprefix(MARK))
    return trial


def _why(target: Target, name: str, trial: _Trial) -> Fault:
    if trial.code is None:
        said = f"{CODES[name]} did not end within {SECONDS:g} s"
        return target.fault("D5", said, about=name, seconds=f"{SECONDS:g}", code=CODES[name])
    if name == "torch":
        return target.fault("D2", trial.last, about=name)
    causes = explain(trial.output).causes
    if causes and causes[0].evidence:
        return target.fault(causes[0].id, trial.last, causes[0].direction, about=name)
    return target.fault("D10", trial.last, about=name, code=CODES[name])


def _swallowed(target: Target, trial: _Trial) -> Fault:
    empty = ", ".join(trial.said["empty"])
    return target.fault("I2", f"import mamba_ssm works, but {empty} is None in it", about="mamba_ssm")


def _hidden(target: Target) -> bool:
    return target.host.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
