"""Exercises: what a chapter asks, how an answer is checked, the solution, and wrong answers that a checker must reject.

One module a chapter (``chNN``) with a list ``EXERCISES``. In a notebook a reader calls `check`; an unfilled starter
gets a hint and the notebook goes on, a wrong answer raises. The tests run every solution and every wrong answer.
"""

import html
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Exercise", "NotAttempted", "Solution", "WrongAnswer", "attempt", "check", "exercises", "solution"]


class WrongAnswer(AssertionError):
    """An answer that is not right; says for which input, what came, what was expected, and why."""


class NotAttempted(Exception):
    """The starter as it was: it returns nothing yet."""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
    ----------
    task : str
        Chapter and number, ``"00.1"``.
    hint : str
        One sentence for whoever has not begun.
    checker : callable
        Takes the reader's function; raises `WrongAnswer` or, through `attempt`, `NotAttempted`.
    solution : callable
    wrong : dict of str to callable
        At least two, each named by its misconception.
    """

    task: str
    hint: str
    checker: Callable
    solution: Callable
    wrong: dict[str, Callable]


def exercises():
    """Every exercise of every chapter, by task."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        for exercise in importlib.import_module(f"{__name__}.{module.name}").EXERCISES:
            found[exercise.task] = exercise
    return found


def check(task, answer):
    """Check an answer: prints a hint where nothing was attempted, raises where it is wrong, else says that it is right.

    Parameters
    ----------
    task : str
        ``"00.1"``.
    answer : callable
        The function that the task asks for.

    Raises
    ------
    WrongAnswer
        With the input, what came, what was expected, and why.
    """
    exercise = _find(task)
    try:
        exercise.checker(answer)
    except NotAttempted:
        print(f"{task}: not attempted yet. Hint: {exercise.hint}")
    else:
        print(f"{task}: right.")


def solution(task):
    """The solution of a task, folded: it opens with a click, in a notebook and in the book.

    Returns
    -------
    Solution
    """
    return Solution(task, inspect.getsource(_find(task).solution))


@dataclass(frozen=True)
class Solution:
    """Source of a solution, shown behind a click."""

    task: str
    source: str

    def _repr_html_(self):
        summary = f"<summary>Solution {self.task}</summary>"
        return f'<details class="wb-solution">{summary}<pre>{html.escape(self.source)}</pre></details>'

    def __repr__(self):
        return self.source


def attempt(answer, *arguments):
    """What the reader's function returns; `NotAttempted` where that is nothing yet."""
    result = answer(*arguments)
    if result is None or result is ...:
        raise NotAttempted
    return result


def _find(task):
    """One exercise; only its own chapter's module is imported, so that a stamp names no other."""
    chapter = f"ch{task.partition('.')[0]}"
    if chapter in {module.name for module in pkgutil.iter_modules(__path__)}:
        for exercise in importlib.import_module(f"{__name__}.{chapter}").EXERCISES:
            if exercise.task == task:
                return exercise
    raise ValueError(f"no exercise {task!r}; there are {', '.join(sorted(exercises()))}")
