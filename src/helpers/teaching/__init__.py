"""What the chapters need around the subject: figures, exercises, and the execution of notebooks with its stamps."""

from helpers.teaching.exercises import WrongAnswer, check, solution
from helpers.teaching.notebooks import NotebookError, Staleness, execute, lane_of, stale
from helpers.teaching.plots import COLORS, detection_figure, style

__all__ = [
    "COLORS",
    "NotebookError",
    "Staleness",
    "WrongAnswer",
    "check",
    "detection_figure",
    "execute",
    "lane_of",
    "solution",
    "stale",
    "style",
]
