"""`doctor`: examine an installation layer by layer, name the first that is broken and what to do about it here, and say
which backends of the workbook work.

Files and versions are read first, in under two seconds; only then are imports tried, each in a process of its own. It
installs and repairs nothing. Logs are for `explain`; what the workbook itself needs is the pre-flight's question.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from helpers.environment import doctor_extensions, doctor_layers
from helpers.environment.doctor_imports import Imports, try_imports
from helpers.environment.doctor_result import Backend, Checkup, DoctorError, Fault, Layer
from helpers.environment.doctor_target import Target, target
from helpers.environment.probe import Host

__all__ = ["Backend", "Checkup", "DoctorError", "Fault", "Layer", "examine"]


def examine(
    python: str | os.PathLike[str] | None = None,
    *,
    site: str | os.PathLike[str] | None = None,
    imports: bool = True,
    progress: Callable[[str], object] | None = None,
    host: Host | None = None,
) -> Checkup:
    """Examine an installation of torch, mamba-ssm and causal-conv1d.

    Parameters
    ----------
    python : str or Path, optional
        Another interpreter, or the folder of a virtual environment; this process's own when left out.
    site : str or Path, optional
        A folder of packages that comes first on the search path, such as one that a lab has just broken.
    imports : bool
        Whether imports are tried after all files are read. They take seconds, `mamba_ssm` up to 20.
    progress : callable, optional
        Called with a line of text before each import; `print` will do.
    host : Host, optional
        The machine; this one when left out.

    Returns
    -------
    Checkup
        Print it, or read `layers`, `broken` and `backends`.

    Raises
    ------
    DoctorError
        Where the interpreter or the folder is not there.

    Examples
    --------
    >>> checkup = examine(imports=False)
    >>> [layer.name for layer in checkup.layers][:3]
    ['python', 'torch', 'toolkit']
    """
    examined = target(python, site, host)
    say = progress or (lambda text: None)
    layers = [
        doctor_layers.python(examined),
        doctor_layers.torch(examined),
        doctor_layers.toolkit(examined),
        doctor_layers.pair(examined),
        doctor_layers.wheels(examined),
        doctor_extensions.extensions(examined),
        doctor_layers.pins(examined),
        doctor_layers.gpu(examined),
    ]
    library_path = doctor_extensions.library_path(examined)
    tried = None
    if imports:
        first = next((fault for layer in (*layers, library_path) for fault in layer.faults), None)
        say(f"Files and versions: {f'{first.id} {first.title}' if first else 'nothing broken'}. Now the imports.")
        tried = try_imports(examined, say, rescue=not any(layer.faults for layer in layers))
        layers = [_corrected(layer, tried) for layer in layers]
        library_path = _confirmed(library_path, tried)
    layers += [tried.layer if tried else Layer("imports", "note", "not tried (--no-import)"), library_path]
    backends = (_torch_backend(examined, layers, tried), _mamba_backend(examined, layers, tried))
    return Checkup(tuple(layers), backends, doctor_layers.build_torch(examined))


def _corrected(layer: Layer, tried: Imports) -> Layer:
    """Drop what an import has refuted: a loader knows more of its machine than a reader of files."""
    refuted = [fault for fault in layer.faults if fault.about in tried.loaded or (fault.id == "D6" and tried.gpu)]
    if not refuted:
        return layer
    left = tuple(fault for fault in layer.faults if fault not in refuted)
    named = ", ".join(f"{fault.id} ({fault.evidence})" for fault in refuted)
    return Layer(layer.name, "broken" if left else "note", f"works, although the files say {named}", left)


def _confirmed(layer: Layer, tried: Imports) -> Layer:
    """Let the imports decide whether LD_LIBRARY_PATH breaks something."""
    if tried.rescued:
        return Layer(layer.name, "broken", layer.summary, (tried.rescued,))
    if "torch" in tried.loaded and layer.faults:
        return Layer(layer.name, "note", f"{layer.summary}, and torch imports all the same")
    return layer


def _torch_backend(examined: Target, layers: list[Layer], tried: Imports | None) -> Backend:
    if examined.torch is None:
        return Backend("torch", False, "torch is not installed")
    if tried and "torch" in tried.loaded and not (tried.rescued and tried.rescued.about == "torch"):
        return Backend("torch", True, "torch imports; " + ("on the GPU too" if tried.gpu else "on the CPU"))
    broken = _first(layers, "torch", "library_path", "imports")
    if broken:
        return Backend("torch", False, broken)
    return Backend("torch", None, "nothing stands against it; the import was not tried")


def _mamba_backend(examined: Target, layers: list[Layer], tried: Imports | None) -> Backend:
    name = "mamba_ssm"
    if not examined.installed("mamba-ssm"):
        return Backend(name, False, "optional: mamba-ssm is not installed")
    broken = _first(layers, *(layer.name for layer in layers))
    if broken:
        return Backend(name, False, broken)
    if not any(item.kind == "cuda" for item in examined.machine.gpus):
        return Backend(name, False, "needs an NVIDIA GPU; the torch backend does not")
    if examined.torch and not examined.torch.cuda:
        return Backend(name, False, "needs a CUDA build of torch")
    if tried and not tried.gpu:
        return Backend(name, False, "torch reaches no GPU")
    if tried and name in tried.loaded:
        return Backend(name, True, "mamba_ssm imports, and torch reaches the GPU")
    return Backend(name, None, "nothing stands against it; the import was not tried")


def _first(layers: list[Layer], *names: str) -> str:
    faults = [(layer.name, fault) for layer in layers for fault in layer.faults if layer.name in names]
    return f"{faults[0][0]}: {faults[0][1].id} {faults[0][1].title}" if faults else ""
