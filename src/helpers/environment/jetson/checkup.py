"""What stands between an installed mamba_ssm and causal_conv1d, and the right cure: it looks and changes nothing.

Four questions, of which field note D mixed the answers: do the two packages agree about the arguments of their calls,
are the compiled files of this machine, does the import come after torch's, and has torch its `distributed`. What to
install is worked out by `workbook plan`; all other layers are those of `workbook doctor`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.environment.catalogue.releases import releases
from helpers.environment.doctor_result import Layer
from helpers.environment.doctor_target import MARK, Target, target
from helpers.environment.elf import ElfError, Search, predict, read_extension
from helpers.environment.jetson.contract import Contract, read_contract
from helpers.environment.jetson.edits import FILES
from helpers.environment.jetson.patch import VERSIONS
from helpers.environment.probe import Host, run

__all__ = ["Checkup", "check"]

WIDTH = 80
PATCH = "workbook patch jetson"
SECONDS = 180.0  # a cold disk takes minutes for a CUDA build of torch
COMPILED = ("causal_conv1d_cuda", "selective_scan_cuda")
# mamba_ssm takes the second of a pair where the first is missing, and has no third way.
DISTRIBUTED = f"""
import json, torch, torch.distributed as distributed
gather, scatter = ("all_gather_into_tensor", "_all_gather_base"), ("reduce_scatter_tensor", "_reduce_scatter_base")
wanted = ("ProcessGroup",), gather, scatter
missing = [names[-1] for names in wanted if not any(hasattr(distributed, name) for name in names)]
print("\\n{MARK}" + json.dumps([torch.__version__, distributed.is_available(), missing]))
"""


@dataclass(frozen=True)
class Checkup:
    """What was found.

    Attributes
    ----------
    mamba, conv : str or None
        Versions of mamba-ssm and causal-conv1d; None where one is not there.
    folder : Path or None
        Of the package `mamba_ssm`.
    contract : Contract
    layers : tuple of Layer
        `contract`, `machine`, `import order`, `distributed`; states as in `helpers.environment.doctor_result`.
    advice : tuple of str
        Steps, the right cure first; empty where there is nothing to do.
    """

    mamba: str | None
    conv: str | None
    folder: Path | None
    contract: Contract
    layers: tuple[Layer, ...]
    advice: tuple[str, ...]

    @property
    def patch_helps(self) -> bool:
        """Whether the patch mends what is broken between the two packages, and knows both sources."""
        known = self.contract.sources in ("original", "half patched") and _public(self.mamba) in VERSIONS
        return known and self.contract.verdict in ("too few", "half patched")

    @property
    def broken(self) -> bool:
        """Whether one of the layers is."""
        return any(layer.state == "broken" for layer in self.layers)

    def __str__(self) -> str:
        lines = [f"mamba-ssm {self.mamba or 'missing'}, causal-conv1d {self.conv or 'missing'}"]
        for layer in self.layers:
            first, others = f"{layer.name:<14}{layer.state:<9}", " " * 23
            lines += textwrap.wrap(layer.summary, WIDTH, initial_indent=first, subsequent_indent=others)
        return "\n".join([*lines, *([""] if self.advice else []), *self.advice])


def check(site: str | os.PathLike[str] | None = None, *, imports: bool = True, host: Host | None = None) -> Checkup:
    """Look at mamba_ssm and causal_conv1d.

    Parameters
    ----------
    site : str or Path, optional
        A folder of packages that comes first on the search path; of a folder `mamba_ssm`, the one that contains it. The
        folders of this Python alone when left out.
    imports : bool
        Whether torch is imported in a process of its own, to ask for its `distributed`. That takes seconds.
    host : Host, optional
        The machine; this one when left out.

    Raises
    ------
    helpers.environment.doctor_result.DoctorError
        Where the folder does not exist.
    """
    if site is not None and Path(site).name == "mamba_ssm" and Path(site, "__init__.py").is_file():
        site = Path(site).absolute().parent
    here = target(None, site, host)
    versions = {name: _version(here, name) for name in ("mamba_ssm", "causal_conv1d")}
    folders = {name: here.module(name) for name in versions}
    files = {name: _compiled(here, name) for name in COMPILED}
    path = files["causal_conv1d_cuda"]
    compiled = path if path and path.suffix == ".so" else None
    contract = read_contract(*folders.values(), compiled)
    layers = [_contract(contract, *versions.values()), _machine(here, files, folders), _import_order(here, compiled)]
    layers.append(_distributed(here) if imports else Layer("distributed", "note", "not asked"))
    found = Checkup(*versions.values(), folders["mamba_ssm"], contract, tuple(layers), ())
    return replace(found, advice=tuple(_advice(found, f" --site {shlex.quote(os.fspath(site))}" if site else "")))


def _version(here: Target, name: str) -> str | None:
    """Of the package's own source, which comes along when somebody copies a folder; metadata does not."""
    folder = here.module(name)
    if folder is None:
        return None
    try:
        text = (folder / "__init__.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^__version__ = [\"']([^\"']+)", text, re.MULTILINE)
    return found[1] if found else here.installed(name.replace("_", "-"))


def _compiled(here: Target, name: str) -> Path | None:
    """The file that an import takes, else one whose ending is for another Python or machine; a .py counts too."""
    misnamed = None
    for folder in map(Path, here.host.path):
        paths = sorted(folder.glob(f"{name}*.so")) if folder.is_dir() else []
        for path in [*paths, folder / f"{name}.py"]:
            if path.name.removeprefix(name) in (*here.suffixes, ".py") and path.is_file():
                return path
        misnamed = misnamed or next(iter(paths), None)
    return misnamed


def _contract(contract: Contract, mamba: str | None, conv: str | None) -> Layer:
    if contract.verdict == "by hand":
        return Layer("contract", "broken", _by_hand(contract, conv))
    passed, taken = (_said(counts) for counts in (contract.passed, contract.taken))
    calls = f"mamba-ssm {mamba} passes {passed} arguments (forward and backward), causal-conv1d {conv} takes {taken}"
    state, said = {
        "fits": ("ok", calls if contract.passed else f"mamba-ssm {mamba} goes through causal-conv1d's cpp_functions"),
        "patched": ("ok", f"mamba-ssm {mamba} is patched, and works with causal-conv1d {conv}"),
        "half patched": ("broken", "one of two files is patched: a run was stopped in between"),
        "too few": ("broken", calls + (f"; {contract.reason}" if contract.sources == "unknown" else "")),
        "too old": ("broken", f"mamba-ssm {mamba} calls what causal-conv1d {conv} does not have"),
        "two halves": (
            "broken",
            f"causal-conv1d {conv}: its Python files pass {taken} arguments, its compiled file takes "
            f"{' and '.join(map(str, contract.compiled or ()))}: two releases are mixed",
        ),
        "no mamba-ssm": ("not here", "mamba-ssm is not there"),
        "no causal-conv1d": ("broken", f"mamba-ssm {mamba} without causal-conv1d"),
        "unknown": _unknown(contract, mamba, conv),
    }[contract.verdict]
    return Layer("contract", state, said)


def _said(counts: tuple[int | None, ...] | None) -> str:
    return " and ".join(map(str, counts)) if counts else "?"


def _by_hand(contract: Contract, conv: str | None) -> str:
    layers = {"Mamba": contract.states[0], "Mamba2": contract.states[1]}
    works = [name for name, state in layers.items() if state in ("by hand", "patched")]
    fails = [name for name in layers if name not in works]
    forward = f"the forward of {' and '.join(works)} works" + (f", that of {fails[0]} fails" if fails else "")
    backward = contract.passed[1] if contract.passed else "?"
    takes = contract.taken[1] if contract.taken else "?"
    return (
        f"patched by hand as in field note D: {forward}; training fails, since the backward passes {backward} "
        f"arguments and causal-conv1d {conv} takes {takes}"
    )


def _unknown(contract: Contract, mamba: str | None, conv: str | None) -> tuple[str, str]:
    """Of a release whose sources are known, other ones are damaged; of another, or of a fork, they may be right."""
    if contract.sources != "unknown":
        return "note", f"the Python files of causal-conv1d {conv} make no call that tells what it takes"
    if _public(mamba) in VERSIONS:
        return "broken", f"the sources of mamba-ssm {mamba} are not those of the release: {contract.reason}"
    return "note", f"mamba-ssm {mamba} calls causal-conv1d in a way that this check does not know"


def _machine(here: Target, files: dict[str, Path | None], folders: dict[str, Path | None]) -> Layer:
    """Whether the compiled files are of this machine, and have an ending that this Python imports."""
    owners = dict(zip(COMPILED, ("causal_conv1d", "mamba_ssm"), strict=True))
    wrong, right, notes = [], [], []
    for name, path in files.items():
        if path is None:
            if folders[owners[name]]:
                wrong.append(f"no {name} is there: `No module named '{name}'`")
            continue
        if path.suffix == ".py":
            notes.append(f"{path.name} is Python, not compiled")
            continue
        ending = path.name.removeprefix(name)
        try:
            built = read_extension(path).machine
        except ElfError as error:
            wrong.append(f"{path.name} cannot be read ({error.text or 'damaged'})")
            continue
        if built != here.host.architecture:
            wrong.append(f"{path.name} is built for {built}, this machine is {here.host.architecture}")
        elif ending not in here.suffixes:
            wrong.append(f"{path.name}: this Python does not see that ending, it imports *{here.suffixes[0]}")
        else:
            right.append(name)
    if wrong:
        return Layer("machine", "broken", "; ".join(wrong))
    if not right:
        return Layer("machine", "note", "; ".join(notes) or "nothing compiled is there")
    said = [f"{' and '.join(right)} built for {here.host.architecture}, as this machine is"]
    return Layer("machine", "note" if notes else "ok", "; ".join(said + notes))


def _import_order(here: Target, path: Path | None) -> Layer:
    """What an import of the compiled module says before torch's, and after it."""
    if path is None or here.torch_folder is None:
        return Layer("import order", "note", "not looked at: no compiled file" if path is None else "no torch is there")
    try:
        extension = read_extension(path)
        alone = predict(extension, _search(here, torch_first=False))
        after = predict(extension, _search(here, torch_first=True))
    except ElfError as error:
        return Layer("import order", "broken", f"{path.name} cannot be read ({error.text or 'damaged'})")
    if after:
        return Layer("import order", "broken", f"after `import torch` too: {after[0].text}")
    if alone:
        lies = "" if not (here.torch_folder / "lib/libc10.so").is_file() else "; libc10.so lies in torch/lib"
        return Layer("import order", "ok", f"loads after `import torch`; before it: {alone[0].text}{lies}")
    return Layer("import order", "ok", "in any order")


def _search(here: Target, torch_first: bool) -> Search:
    return here.search(torch_first, here.library_path)


def _distributed(here: Target) -> Layer:
    """Whether torch has the names that mamba_ssm imports from torch.distributed."""
    if here.torch_folder is None:
        return Layer("distributed", "not here", "no torch is there")
    code, out, err = run([here.host.executable, "-c", DISTRIBUTED], SECONDS, here.host.environ)
    line = next((line for line in reversed(out.splitlines()) if line.startswith(MARK)), None)
    if line is None:
        last = (err or out).strip().splitlines()[-1:] or [f"exit code {code}"]
        return Layer("distributed", "broken", f"torch cannot be imported: {last[0]}")
    version, available, missing = json.loads(line.removeprefix(MARK))
    if missing:
        return Layer("distributed", "broken", f"torch {version} is built without it: no {', no '.join(missing)}")
    said = "has torch.distributed" if available else "is built without it; stand-ins fill the names"
    return Layer("distributed", "ok", f"torch {version} {said}")


def _advice(found: Checkup, site: str) -> list[str]:
    verdict, lines = found.contract.verdict, []
    plan = "workbook plan"
    mamba, conv = _known("mamba-ssm", found.mamba), _known("causal-conv1d", found.conv)
    pair = [
        f"  {plan}{f' --mamba {mamba}' if mamba else ''} --commands",
        f"  {plan}{f' --causal-conv1d {conv}' if conv else ''} --commands",
    ]
    if any(layer.name == "machine" and layer.state == "broken" for layer in found.layers):
        lines += ["No patch mends a compiled file that is missing or of another machine. Build both here:"]
        lines += [f"  {plan} --commands"]
    elif verdict in ("too few", "by hand"):
        lines += ["The right cure is a pair that fits. Either keep this mamba-ssm, and take its partner:", pair[0]]
        lines += ["or keep this causal-conv1d, and take mamba-ssm 2.2.5 or later:", pair[1]]
    if verdict == "too few" and found.patch_helps and not lines[0].startswith("No patch"):
        lines += ["Where nothing can be compiled now, the patch does it too; --revert takes it back:"]
        lines += [f"  {PATCH} --apply{site}"]
    if verdict in ("by hand", "too few", "unknown") and found.contract.reason:
        lines += _restored(found, "Or put" if lines else "Put")
    if verdict == "half patched":
        lines += ["Finish it, or take it back:", f"  {PATCH} --apply{site}", f"  {PATCH} --revert{site}"]
    if verdict in ("too old", "no causal-conv1d"):
        lines += ["The patch does not mend this. Take the causal-conv1d that fits:", pair[0]]
    if verdict == "two halves":
        lines += ["Install causal-conv1d again, whole; the patch does not mend this:", pair[1]]
    if verdict == "no mamba-ssm":
        lines += ["Nothing to patch. What to install here:", f"  {plan} --commands"]
    if "is built without it: no" in found.layers[3].summary:
        lines += ["For torch.distributed: a torch that has it, or env/jetson/sitecustomize.py (see its README)."]
    return lines


def _restored(found: Checkup, start: str) -> list[str]:
    """Only Python files are wrong: pip would load the whole package again, and on ARM a file for x86-64 with it."""
    version = _public(found.mamba)
    if version not in VERSIONS:
        return []
    wrong = [name for name, kind in zip(FILES, found.contract.states, strict=True) if kind in ("by hand", "unknown")]
    fetch = f"from helpers.environment import unpacked; unpacked('mamba-ssm', '{version}', '/tmp')"
    copies = [
        f"  cp --remove-destination /tmp/mamba_ssm-{version}/mamba_ssm/{name} {shlex.quote(str(found.folder / name))}"
        for name in wrong
    ]
    return [
        f"{start} the Python source of the release back (what is compiled stays), and look again:",
        f'  python -c "{fetch}"',
        *copies,
    ]


def _known(package: str, version: str | None) -> str | None:
    return _public(version) if _public(version) in {item.version for item in releases(package)} else None


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None
