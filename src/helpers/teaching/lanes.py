"""Lanes: the two kinds of places where a chapter runs, and the tag that binds a cell to one of them."""

__all__ = ["LANES", "NotebookError", "lane_of"]

LANES = ("gpu", "cpu")


class NotebookError(RuntimeError):
    """A notebook cannot be executed as it is, or a cell raised."""


def lane_of(cell):
    """The lane that a cell is tagged with (``lane:gpu``, ``lane:cpu``), or None where it runs in both."""
    tags = [tag.removeprefix("lane:") for tag in cell.metadata.get("tags", []) if tag.startswith("lane:")]
    if len(tags) > 1 or any(tag not in LANES for tag in tags):
        raise NotebookError(f"cell tagged {', '.join(tags)}: expected at most one of lane:gpu and lane:cpu")
    return tags[0] if tags else None
