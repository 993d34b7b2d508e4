"""Executing chapters in lanes, and the stamp that says where their stored outputs come from.

A lane is a place where a chapter runs: ``gpu`` or ``cpu``. Cells tagged ``lane:gpu`` or ``lane:cpu`` run in that lane
only; untagged cells run in both, and their stored outputs come from the notebook's home lane
(``metadata.workbook.home``).

The stamp of a lane (``metadata.workbook.lanes``) holds hashes of the code, of the stored outputs and of every `helpers`
module that ran, and the machine that ran them. `stale` compares; it executes nothing. The notebook libraries take a
second to import, so they are imported where they are used: chapters import this package too.
"""

import base64
import copy
import hashlib
import io
import json
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["LANES", "NotebookError", "Staleness", "execute", "lane_of", "stale"]

LANES = ("gpu", "cpu")

# Runs in the notebook's own kernel after its last cell, and is not stored.
_REPORT = """
import hashlib as _h, json as _j, pathlib as _p, platform as _f, resource as _r, sys as _s
_t = _s.modules.get("torch")
_v = {n: getattr(_s.modules.get(n), "__version__", None) for n in ("torch", "triton", "mamba_ssm", "numpy", "mne")}
_g = bool(_t) and _t.cuda.is_available()
print(_j.dumps({
    "device": _t.cuda.get_device_name() if _g else None,
    "peak_gpu_mib": round(_t.cuda.max_memory_allocated() / 2**20) if _g else None,
    "peak_mib": round(_r.getrusage(_r.RUSAGE_SELF).ru_maxrss / 2**10),
    "versions": {"python": _f.python_version(), **{n: v for n, v in _v.items() if v}},
    "modules": {n: _h.sha256(_p.Path(m.__file__).read_bytes()).hexdigest() for n, m in sorted(_s.modules.items())
                if n.split(".")[0] == "helpers" and getattr(m, "__file__", None)},
}))
"""


class NotebookError(RuntimeError):
    """A notebook cannot be executed as it is, or a cell raised."""


@dataclass(frozen=True)
class Staleness:
    """Why a notebook's stored outputs are not those of its present code; empty tuples where they are."""

    path: Path
    cells: tuple[str, ...]  # code cells or outputs differ from the stamp: CI fails
    modules: tuple[str, ...]  # helpers modules that changed since: a release fails


def lane_of(cell):
    """The lane that a cell is tagged with, or None where it runs in both."""
    tags = [tag.removeprefix("lane:") for tag in cell.metadata.get("tags", []) if tag.startswith("lane:")]
    if len(tags) > 1 or any(tag not in LANES for tag in tags):
        raise NotebookError(f"cell tagged {', '.join(tags)}: expected at most one of lane:gpu and lane:cpu")
    return tags[0] if tags else None


def execute(path, lane, commit=None, timeout=900, progress=None):
    """Run a notebook in one lane and store its outputs and its stamp in the file.

    Parameters
    ----------
    path : str or Path
        An ``.ipynb`` with its ``.py`` beside it.
    lane : str
        ``"gpu"`` or ``"cpu"``. The untagged cells' outputs are kept only in the home lane.
    commit : str, optional
        Commit of the code, where there is no git to ask; end it with ``+`` for a tree with changes.
    timeout : int
        Seconds that one cell may take.
    progress : callable, optional
        Called as ``progress(cells_done, cells_in_all)``.

    Returns
    -------
    dict
        The lane's stamp.

    Raises
    ------
    NotebookError
        If the pair differs, the lane's device is missing, or a cell raises. The file is then as it was.
    """
    path = Path(path)
    if lane not in LANES:
        raise NotebookError(f"lane {lane!r}: expected gpu or cpu")
    notebook = _read_pair(path)
    meta = notebook.metadata.setdefault("workbook", {"home": lane, "lanes": {}})
    run = copy.deepcopy(notebook)
    run.cells = [cell for cell in run.cells if lane_of(cell) in (None, lane)]
    began = time.perf_counter()
    report = _run(run, path, lane, timeout, progress)
    seconds = time.perf_counter() - began
    outputs = {cell.id: cell for cell in run.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.id in outputs and (lane_of(cell) == lane or lane == meta["home"]):
            cell.outputs = [_compact(output) for output in outputs[cell.id].outputs]
            cell.execution_count = outputs[cell.id].execution_count
    notebook.metadata.pop("widgets", None)  # a stored widget state makes the page load scripts from a remote host
    meta["lanes"][lane] = {
        "code_sha256": _code_hash(notebook, lane),
        "outputs_sha256": _outputs_hash(notebook, lane),
        "commit": commit or _commit(path.parent),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        **report,
    }
    import nbformat

    part = path.with_name(path.name + ".part")
    nbformat.write(notebook, part)
    part.replace(path)
    return meta["lanes"][lane]


def stale(path):
    """Compare a notebook with its stamps.

    Returns
    -------
    Staleness
    """
    import nbformat

    path = Path(path)
    notebook = nbformat.read(path, 4)
    meta = notebook.metadata.get("workbook")
    if not meta or meta.get("home") not in meta.get("lanes", {}):
        return Staleness(path, ("no stamp: run workbook execute",), ())
    used = {lane_of(cell) for cell in notebook.cells} - {None} | {meta["home"]}
    cells = [f"lane {lane}: never executed" for lane in sorted(used - set(meta["lanes"]))]
    modules = []
    for lane, stamp in sorted(meta["lanes"].items()):
        if _code_hash(notebook, lane) != stamp["code_sha256"]:
            cells.append(f"lane {lane}: code cells changed since they ran")
        if _outputs_hash(notebook, lane) != stamp["outputs_sha256"]:
            cells.append(f"lane {lane}: stored outputs are not those that the run stored")
        changed = [name for name, digest in stamp["modules"].items() if _module_hash(name) != digest]
        modules += [f"lane {lane}: {name} changed since" for name in changed]
    return Staleness(path, tuple(cells), tuple(modules))


def _read_pair(path):
    import jupytext

    if path.suffix != ".ipynb" or not path.is_file():
        raise NotebookError(f"{path}: expected the .ipynb of a chapter")
    notebook, text = jupytext.read(path), path.with_suffix(".py")
    if not text.is_file() or jupytext.writes(notebook, fmt="py:percent") != text.read_text(encoding="utf-8"):
        raise NotebookError(f"{path}: differs from {text.name}. Run jupytext --sync {path} first.")
    return notebook


def _run(notebook, path, lane, timeout, progress):
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(
        notebook,
        timeout=timeout,
        record_timing=False,  # times would change the file at every run
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as fault:
                raise NotebookError(
                    f"{path}, cell {index + 1}: {fault.ename}: {fault.evalue}\n{cell.source}"
                ) from fault
            if progress:
                progress(index + 1, len(notebook.cells))
        probe = nbformat.v4.new_code_cell(_REPORT)
        notebook.cells.append(probe)
        client.execute_cell(probe, len(notebook.cells) - 1, store_history=False)
        notebook.cells.pop()
    report = json.loads(probe.outputs[0].text)
    if lane == "gpu" and not report["device"]:
        raise NotebookError(f"{path}: lane gpu, but PyTorch found no GPU in the notebook. Nothing was stored.")
    if lane == "cpu" and report["device"]:
        raise NotebookError(f"{path}: lane cpu, but PyTorch sees {report['device']}. Set CUDA_VISIBLE_DEVICES= first.")
    from helpers.environment import preflight

    machine = preflight().machine
    report["device"] = report["device"] or f"{machine.cpus} cores, {machine.architecture}"
    report["driver"] = machine.driver if lane == "gpu" else None
    return report


def _compact(output):
    """The same output, its PNGs with a palette: a quarter of the size, and no difference in a figure of lines."""
    from PIL import Image

    png = output.get("data", {}).get("image/png")
    if png:
        image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(64)
        packed = io.BytesIO()
        image.save(packed, "png", optimize=True)
        output["data"]["image/png"] = base64.b64encode(packed.getvalue()).decode()
    return output


def _code_hash(notebook, lane):
    return _hash([cell.source for cell in notebook.cells if cell.cell_type == "code" and lane_of(cell) in (None, lane)])


def _outputs_hash(notebook, lane):
    """Over the outputs that this lane stored: its own cells', and the untagged cells' in the home lane."""
    home = notebook.metadata["workbook"]["home"]
    stored = {lane, None} if lane == home else {lane}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and lane_of(cell) in stored]
    return _hash([[cell.id, cell.outputs] for cell in cells])


def _module_hash(name):
    import helpers

    base = Path(helpers.__file__).parent.joinpath(*name.split(".")[1:])
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _commit(folder):
    def git(*words):
        found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
        return found.stdout.strip() if found.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        raise NotebookError(f"{folder}: no git repository to take the commit from. Name it with --commit.")
    return commit + ("+" if git("status", "--porcelain") else "")
