"""The stamp of a stored output, and whether it still fits: hashes of code, outputs, recorded numbers and `helpers`.

`stale` compares; it executes nothing.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from helpers.teaching.lanes import NotebookError, lane_of
from helpers.teaching.pairs import differs_from_its_text
from helpers.teaching.results import read_results, wrong_numbers

__all__ = ["Staleness", "fingerprint", "stale"]


@dataclass(frozen=True)
class Staleness:
    """Why what a page shows is not what its present code made; empty tuples where it is."""

    path: Path
    cells: tuple[str, ...]  # code, outputs or numbers in the text differ from the stamp: CI fails
    modules: tuple[str, ...]  # helpers modules that changed since: a release fails


def stale(path):
    """Compare a page with its stamps: of a chapter everything, of a prose page its measured numbers.

    Parameters
    ----------
    path : str or Path
        ``.ipynb`` or ``.md``.

    Returns
    -------
    Staleness
    """
    path = Path(path)
    if path.suffix == ".md":
        return Staleness(path, tuple(wrong_numbers(path.read_text(encoding="utf-8"), path)), ())
    import nbformat

    notebook = nbformat.read(path, 4)
    pair = (f"differs from {path.stem}.py: run jupytext --sync {path}",) if differs_from_its_text(path) else ()
    meta = notebook.metadata.get("workbook")
    if not meta or meta.get("home") not in meta.get("lanes", {}):
        return Staleness(path, (*pair, "no stamp: run workbook execute"), ())
    try:
        used = {lane_of(cell) for cell in notebook.cells} - {None} | {meta["home"]}
    except NotebookError as fault:
        return Staleness(path, (*pair, str(fault)), ())
    reasons = [f"lane {lane}: never executed; {_again(lane)}" for lane in sorted(used - set(meta["lanes"]))]
    modules = []
    for lane, stamp in sorted(meta["lanes"].items()):
        now = fingerprint(notebook, lane, read_results(path))
        reasons += [
            f"lane {lane}: {_CHANGED[part]}; {_again(lane)}" for part in _CHANGED if now[part] != stamp.get(part)
        ]
        changed = [name for name, digest in stamp["modules"].items() if _module_hash(name) != digest]
        modules += [f"lane {lane}: {name} changed since" for name in changed]
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return Staleness(path, (*pair, *reasons, *wrong_numbers(prose, path)), tuple(modules))


_CHANGED = {
    "code_sha256": "code cells changed since they ran",
    "outputs_sha256": "stored outputs are not those that the run stored",
    "results_sha256": "the results table is not the one that the run wrote",
}


def _again(lane):
    return f"run workbook execute --lane {lane}"


def fingerprint(notebook, lane, results):
    """Hashes of what a lane runs and of what it stored: its own cells, and in the home lane the untagged ones."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    stored = {lane, None} if lane == notebook.metadata["workbook"]["home"] else {lane}
    return {
        "code_sha256": _hash([cell.source for cell in code if lane_of(cell) in (None, lane)]),
        "outputs_sha256": _hash([[cell.id, cell.outputs] for cell in code if lane_of(cell) in stored]),
        "results_sha256": _hash(results.get(lane, {})),
    }


def _module_hash(name):
    import helpers

    base = Path(helpers.__file__).parent.joinpath(*name.split(".")[1:])
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
