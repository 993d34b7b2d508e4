"""Executing chapters in lanes, and storing what they print.

A lane is a place where a chapter runs: ``gpu`` or ``cpu``. Cells tagged ``lane:gpu`` or ``lane:cpu`` run in that lane
only; untagged cells run in both, and their stored outputs come from the notebook's home lane
(``metadata.workbook.home``). The stamp of a lane (``metadata.workbook.lanes``) says what ran and on what machine.

The notebook libraries take a second to import, so they are imported where they are used: chapters import this package
too.
"""

import base64
import copy
import json
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

from helpers.teaching.images import palette_png
from helpers.teaching.lanes import LANES, NotebookError, lane_of
from helpers.teaching.pairs import differs_from_its_text, write_pair, write_whole
from helpers.teaching.results import fill, read_results, results_file
from helpers.teaching.stamps import fingerprint

__all__ = ["execute", "fill_numbers"]

# What executes and stores a chapter is loaded with the package, but no cell computes with it: it is not in a stamp.
_RUNNER = {"helpers.teaching.notebooks", "helpers.teaching.pairs", "helpers.teaching.stamps"}

# Runs in the notebook's own kernel after its last cell, and is not stored.
_REPORT = """
import hashlib as _h, json as _j, pathlib as _p, platform as _f, resource as _r, sys as _s
_t = _s.modules.get("torch")
_v = {n: getattr(_s.modules.get(n), "__version__", None) for n in ("torch", "triton", "mamba_ssm", "numpy", "mne")}
_g = bool(_t) and _t.cuda.is_available()
_n = _t.cuda.device_count() if _g else 0
_seed = globals().get("SEEDS", globals().get("SEED"))
print(_j.dumps({
    "seed": None if _seed is None else [int(n) for n in (_seed if hasattr(_seed, "__iter__") else [_seed])],
    "device": (f"{_n} × " if _n > 1 else "") + _t.cuda.get_device_name() if _g else None,
    "peak_gpu_mib": round(_t.cuda.max_memory_allocated() / 2**20) if _g else None,
    "peak_mib": round(_r.getrusage(_r.RUSAGE_SELF).ru_maxrss / 2**10),
    "versions": {"python": _f.python_version(), **{n: v for n, v in _v.items() if v}},
    "results": getattr(_s.modules.get("helpers.teaching.results"), "TABLE", {}),
    "modules": {n: _h.sha256(_p.Path(m.__file__).read_bytes()).hexdigest() for n, m in sorted(_s.modules.items())
                if n.split(".")[0] == "helpers" and getattr(m, "__file__", None)},
}))
"""


def execute(path, lane, commit=None, timeout=900, progress=None, home=False):
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
    home : bool
        Make this lane the chapter's home from now on. The first lane that runs is home by itself.

    Returns
    -------
    dict
        The lane's stamp.

    Raises
    ------
    NotebookError
        If the pair differs, the lane's device is missing, or a cell raises, takes too long, ends the kernel or is
        interrupted. The file is then as it was, and what its cells had printed is in ``.failed/`` beside it.
    """
    path = Path(path)
    if lane not in LANES:
        raise NotebookError(f"lane {lane!r}: expected gpu or cpu")
    notebook = _read_pair(path)
    meta = notebook.metadata.setdefault("workbook", {"home": lane, "lanes": {}})
    if home:
        meta["home"] = lane
    run = copy.deepcopy(notebook)
    run.cells = [cell for cell in run.cells if lane_of(cell) in (None, lane)]
    began = time.perf_counter()
    report = _run(run, path, lane, timeout, progress)
    seconds = time.perf_counter() - began
    outputs = {cell.id: cell for cell in run.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.id in outputs and (lane_of(cell) == lane or lane == meta["home"]):
            cell.outputs = _joined([_compact(found) for found in outputs[cell.id].outputs if not _is_progress(found)])
            cell.execution_count = outputs[cell.id].execution_count
    notebook.metadata.pop("widgets", None)  # a stored widget state makes the page load scripts from a remote host
    results = {**read_results(path), lane: report.pop("results")}
    meta["lanes"][lane] = {
        **fingerprint(notebook, lane, results),
        "commit": commit or _commit(path.parent),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        **report,
    }
    _write_results(path, results)
    write_pair(notebook, path)
    fill_numbers(path)
    return meta["lanes"][lane]


def fill_numbers(path):
    """Write the measured numbers into the text of a page, where they are not there yet.

    A reference that no run has recorded is left as it is; `stale` names it.

    Parameters
    ----------
    path : str or Path
        ``.ipynb`` with its ``.py`` beside it, or ``.md``.

    Returns
    -------
    bool
        Whether the page changed.

    Raises
    ------
    NotebookError
        If the pair differs.
    """
    path = Path(path)
    if path.suffix == ".md":
        before = path.read_text(encoding="utf-8")
        after = fill(before, path)
        if after != before:
            write_whole(path, after)
        return after != before
    notebook = _read_pair(path)
    changed = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (filled := fill(cell.source, path)) != cell.source:
            cell.source, changed = filled, True
    if changed:
        write_pair(notebook, path)
    return changed


def _read_pair(path):
    import nbformat

    if path.suffix != ".ipynb" or not path.is_file():
        raise NotebookError(f"{path}: expected the .ipynb of a chapter")
    if differs_from_its_text(path):
        raise NotebookError(f"{path}: differs from {path.stem}.py. Run jupytext --sync {path} first.")
    return nbformat.read(path, 4)


def _run(notebook, path, lane, timeout, progress):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        timeout=timeout,
        record_timing=False,  # times would change the file at every run
        store_widget_state=False,
        skip_cells_with_tag="",  # cells of the GPU lane carry skip-execution for CI; here they are in their lane
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel():
        if lane == "gpu" and _ask(client, "import torch\nprint(torch.cuda.is_available())") != "True":
            raise NotebookError(f"{path}: lane gpu, but PyTorch found no GPU in the notebook. Nothing was stored.")
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError, KeyboardInterrupt) as fault:
                if isinstance(fault, KeyboardInterrupt):
                    reason = "it was interrupted."
                elif isinstance(fault, CellExecutionError):
                    reason = f"{fault.ename}: {fault.evalue}"
                elif isinstance(fault, CellTimeoutError):
                    reason = f"still running after {timeout} s. Allow it more (--timeout), or run it by hand."
                else:
                    reason = "it ended the kernel; with signal 9, memory may have run out."
                first, kept = cell.source.partition("\n")[0], _keep_failed(notebook, path)
                raise NotebookError(
                    f"{path}, cell {index + 1} ({first}): {reason}\nThe cells up to there: {kept}"
                ) from fault
            if progress:
                progress(index + 1, len(notebook.cells))
        report = json.loads(_ask(client, _REPORT))
    report["modules"] = {name: digest for name, digest in report["modules"].items() if name not in _RUNNER}
    if lane == "cpu" and report["device"]:
        raise NotebookError(f"{path}: lane cpu, but PyTorch sees {report['device']}. Set CUDA_VISIBLE_DEVICES= first.")
    from helpers.environment import preflight

    machine = preflight().machine
    report["device"] = report["device"] or f"{machine.cpus} cores, {machine.architecture}"
    report["driver"] = machine.driver if lane == "gpu" else None
    return report


def _ask(client, code):
    """What code prints in the notebook's own kernel; it leaves no cell behind."""
    import nbformat

    probe = nbformat.v4.new_code_cell(code)
    client.nb.cells.append(probe)
    client.execute_cell(probe, len(client.nb.cells) - 1, store_history=False)
    client.nb.cells.pop()
    return probe.outputs[0].text.strip()


def _keep_failed(notebook, path):
    """Store a run that ended early where it is in nobody's way: hours on a GPU may be in it."""
    import nbformat

    kept = path.parent / ".failed" / path.name
    kept.parent.mkdir(exist_ok=True)
    write_whole(kept, nbformat.writes(notebook))
    return kept


def _joined(outputs):
    """What was printed in a row as one output, however many pieces the kernel sent it in."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _is_progress(output):
    """A progress bar is for whoever waits; what is stored has come to its end."""
    return "<progress" in output.get("data", {}).get("text/html", "")


def _compact(output):
    """The same output as it is stored: PNGs with a palette, and no reference to a widget of a kernel that is gone."""
    data = output.get("data", {})
    data.pop("application/vnd.jupyter.widget-view+json", None)
    if png := data.get("image/png"):
        data["image/png"] = base64.b64encode(palette_png(base64.b64decode(png))).decode()
    return output


def _write_results(path, results):
    kept = {lane: table for lane, table in sorted(results.items()) if table}
    if kept:
        write_whole(results_file(path), json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    else:
        results_file(path).unlink(missing_ok=True)


def _commit(folder):
    def git(*words):
        found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
        return found.stdout.strip() if found.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        raise NotebookError(f"{folder}: no git repository to take the commit from. Name it with --commit.")
    return commit + ("+" if git("status", "--porcelain") else "")
