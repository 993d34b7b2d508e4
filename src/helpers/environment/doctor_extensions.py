"""The layers that are read from compiled files: extensions of torch, and libraries that LD_LIBRARY_PATH puts before
torch's own. Nothing is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from helpers.environment.catalogue import failures
from helpers.environment.doctor_result import Fault, Layer
from helpers.environment.doctor_target import PACKAGES, Target
from helpers.environment.elf import ElfError, Extension, predict, read_extension

__all__ = ["extensions", "library_path"]

OWN = {"causal_conv1d_cuda": "causal-conv1d", "selective_scan_cuda": "mamba-ssm"}
SOFT = "2.3.2.post1"  # the last mamba-ssm that imports selective_scan_cuda unconditionally
TORCH = re.compile(r"lib(c10|torch)\w*\.so$")


def extensions(target: Target) -> Layer:
    """The compiled modules of both packages, and others of torch beside them: whether the loader would take each."""
    wanted = [module for module, name in OWN.items() if target.installed(name)]
    if target.host.system != "Linux":
        return Layer("extensions", "not here", f"only read on Linux, here is {target.host.system}")
    found = _modules(target)
    if not found and not wanted:
        return Layer("extensions", "not here", "no compiled extension of torch")
    if target.torch_folder is None:
        return Layer("extensions", "note", "not judged: no torch to load them with")
    faults, notes = [], []
    for module in dict.fromkeys([*wanted, *found]):
        if module not in found:
            if target.module(module):
                notes.append(f"{module} is a Python file, not compiled")
            elif module == "selective_scan_cuda" and _is_soft(target):
                notes.append(f"no {module}: Mamba-1's fast path is off")
            else:
                faults.append(_absent(target, module))
            continue
        fault = _judged(target, module, found[module])
        if fault:
            faults.append(fault)
    good = [module for module in found if module not in {fault.about for fault in faults}]
    said = "; ".join([*([f"{', '.join(good)} fit torch"] if good else []), *notes])
    if faults:
        summary = "; ".join(f"{fault.about}: {fault.id}" for fault in faults)
        return Layer("extensions", "broken", summary, tuple(faults))
    return Layer("extensions", "note" if notes else "ok", said)


def library_path(target: Target) -> Layer:
    """Whether LD_LIBRARY_PATH puts others before the libraries that torch brings, and whether torch survives that."""
    if not target.library_path:
        return Layer("library_path", "ok", "LD_LIBRARY_PATH is not set")
    if target.torch_folder is None or target.host.system != "Linux":
        return Layer("library_path", "ok", "LD_LIBRARY_PATH is set; no torch that it could disturb")
    shadows = _shadows(target)
    if not shadows:
        return Layer("library_path", "ok", "LD_LIBRARY_PATH hides none of torch's own libraries")
    first = shadows[0]
    more = f" and {len(shadows) - 1} more" if len(shadows) > 1 else ""
    said = f"{first.parent} hides torch's {first.name}{more}"
    evidence = _break(target, shadows)
    if evidence:
        fault = target.fault("D3", evidence, folder=first.parent)
        return Layer("library_path", "broken", said, (fault,))
    return Layer("library_path", "note", f"{said}: unset LD_LIBRARY_PATH if an import fails")


def _modules(target: Target) -> dict[str, Path]:
    """Each extension of torch on the search path: the file that an import takes, else one that is misnamed."""
    right: dict[str, Path] = {}
    wrong: dict[str, Path] = {}
    for folder in map(Path, target.host.path):
        places = [folder, *(folder / name for name in PACKAGES.values())]
        for path in sorted(path for place in places for path in _files(place)):
            module = path.name.split(".")[0]
            importable = path.name.removeprefix(module) in target.suffixes
            if not _of_interest(path, module):
                continue
            if importable and module not in right:
                right[module] = path
            elif not importable:
                wrong.setdefault(module, path)
    for module in right:
        wrong.pop(module, None)
    return {**right, **wrong}


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in folder.glob("*.so") if not path.name.startswith("lib"))
    except OSError:
        return


def _of_interest(path: Path, module: str) -> bool:
    if module in OWN:
        return True
    if path.parent.name == "lib-dynload":
        return False
    try:
        return any(TORCH.match(name) for name in read_extension(path).needed)
    except ElfError:
        return False


def _is_soft(target: Target) -> bool:
    version = target.version("mamba-ssm")
    return version is not None and str(version) != SOFT and version > type(version)(SOFT)


def _absent(target: Target, module: str) -> Fault:
    evidence = (
        f"{OWN[module]} {target.installed(OWN[module])} is installed, no {module}{target.suffixes[0]} on sys.path"
    )
    return target.fault("I1", evidence, about=module)


def _judged(target: Target, module: str, path: Path) -> Fault | None:
    try:
        extension = read_extension(path)
        # LD_LIBRARY_PATH is a layer of its own: here the extension is judged as it is.
        findings = predict(extension, target.search())
    except ElfError as error:
        return target.fault(_known(error.id), f"{path}: {error.text or 'cannot be read'}", str(error), module)
    if not findings:
        return _no_code_for_gpu(target, module, extension)
    first = findings[0]
    id = _known(first.id)
    here = target.host.architecture
    if id == "I1" and here == "aarch64" and "x86_64" in path.name:
        id = "P3"
    return target.fault(id, first.text, first.reason, module)


def _known(id: str | None) -> str:
    return id if id in {failure.id for failure in failures()} else "D9"


def _no_code_for_gpu(target: Target, module: str, extension: Extension) -> Fault | None:
    capabilities = [item.compute_capability for item in target.machine.gpus if item.compute_capability]
    if not extension.gpu_archs or not capabilities:
        return None
    if any(_runs(arch, capability) for arch in extension.gpu_archs for capability in capabilities):
        return None
    needed = ", ".join(f"sm_{capability.replace('.', '')}" for capability in dict.fromkeys(capabilities))
    evidence = f"{module} holds code for {', '.join(extension.gpu_archs)}; this GPU needs {needed}"
    return target.fault("R1", evidence)


def _runs(arch: str, capability: str) -> bool:
    """Whether code for `sm_80` runs on a GPU of capability 8.6: the same major version, no newer minor one."""
    kind, _, number = arch.partition("_")
    plain = number.rstrip("af")
    if not plain.isdigit():
        return False
    major, minor = map(int, capability.split("."))
    code = divmod(int(plain), 10)
    if number.endswith("a"):
        return code == (major, minor)
    if kind == "compute" and number == plain:  # PTX, which the driver compiles for any newer GPU
        return code <= (major, minor)
    return code[0] == major and code[1] <= minor


def _shadows(target: Target) -> list[Path]:
    """Libraries in LD_LIBRARY_PATH that bear the name of one that torch brings, and are another file."""
    packages = target.torch_folder.parent / "nvidia"  # pip's CUDA libraries
    own = {path.name: path for path in (*packages.glob("*/lib/*.so*"), *(target.torch_folder / "lib").glob("*.so*"))}
    found: dict[str, Path] = {}
    for folder in map(Path, filter(None, re.split("[:;]", target.library_path))):
        for name in own.keys() - found.keys():
            path = folder / name
            try:
                if path.is_file() and (not TORCH.match(name) or _same_machine(path, own[name])):
                    found[name] = path  # the first counts, even where it is torch's own
            except (ElfError, OSError):
                continue
    return [path for name, path in sorted(found.items()) if not path.samefile(own[name])]


def _same_machine(path: Path, own: Path) -> bool:
    return read_extension(path).machine == read_extension(own).machine  # else the loader passes it by


def _break(target: Target, shadows: list[Path]) -> str:
    """What `import torch` would lack with these libraries in place of its own; empty where nothing is known to be."""
    lib = target.torch_folder / "lib"
    try:
        hidden = {path.name for path in shadows}
        others = [path for path in shadows if (lib / path.name).is_file()]
        lost = {name: path for path in others for name in _defined(lib / path.name) - _defined(path)}
        for user in sorted(path for path in lib.glob("lib*.so") if path.name not in hidden) if lost else ():
            for name in read_extension(user).undefined:
                if name in lost:
                    return f"{lost[name]} lacks {name}, which torch's {user.name} needs"
        compiled = next(iter(target.torch_folder.glob("_C.*so")))
        findings = predict(read_extension(compiled), target.search(torch_first=False, library_path=target.library_path))
    except (ElfError, StopIteration):
        return ""
    return findings[0].text if findings else ""


def _defined(path: Path) -> frozenset[str]:
    return read_extension(path).defined()
