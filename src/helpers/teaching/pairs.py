"""The two files of a chapter: ``NN_name.ipynb`` with outputs, and ``NN_name.py`` (py:percent) with the same cells."""

from pathlib import Path

__all__ = ["differs_from_its_text", "write_pair", "write_whole"]


def differs_from_its_text(path):
    """Whether the two files of a chapter hold other cells, or one of them is missing.

    Parameters
    ----------
    path : str or Path
        The ``.ipynb``.

    Returns
    -------
    bool
        The order in which a cell's metadata stand makes no difference.
    """
    import jupytext

    path = Path(path)
    text = path.with_suffix(".py")
    if not path.is_file() or not text.is_file():
        return True
    written = jupytext.writes(jupytext.read(path), fmt="py:percent")
    return _content(written) != _content(text.read_text(encoding="utf-8"))


def _content(text):
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    return [(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells], notebook.metadata


def write_pair(notebook, path):
    """Write a notebook and its text."""
    import jupytext
    import nbformat

    write_whole(path, nbformat.writes(notebook) + "\n")
    write_whole(path.with_suffix(".py"), jupytext.writes(jupytext.read(path), fmt="py:percent"))


def write_whole(path, text):
    """Write beside the place, then rename: a file is the old one or the new one, never half."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
