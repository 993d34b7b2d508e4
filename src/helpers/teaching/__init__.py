"""What the chapters need around the subject: figures, explorers, exercises, measured numbers, and stored outputs.

A reader meets `style`, `explore`, `check`, `solution`, `record` and `needs`; whoever writes a chapter runs `execute`,
`fill_numbers` and `stale` through the `workbook` command.
"""

from helpers.teaching.exercises import WrongAnswer, check, solution
from helpers.teaching.explorer import Explorer, explore
from helpers.teaching.lanes import LANES, NotebookError, lane_of
from helpers.teaching.needs import NeedError, needs, require
from helpers.teaching.notebooks import execute, fill_numbers
from helpers.teaching.plots import COLORS, detection_figure, style
from helpers.teaching.results import ResultError, record
from helpers.teaching.stamps import Staleness, stale

__all__ = [
    "COLORS",
    "LANES",
    "Explorer",
    "NeedError",
    "NotebookError",
    "ResultError",
    "Staleness",
    "WrongAnswer",
    "check",
    "detection_figure",
    "execute",
    "explore",
    "fill_numbers",
    "lane_of",
    "needs",
    "record",
    "require",
    "solution",
    "stale",
    "style",
]
