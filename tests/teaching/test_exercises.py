"""Every solution passes its own checker, every wrong answer is rejected, and an unfilled starter is neither."""

import pytest

from helpers.teaching import check, solution
from helpers.teaching.exercises import WrongAnswer, exercises

ALL = sorted(exercises().items())
WRONG = [(task, name) for task, exercise in ALL for name in exercise.wrong]


@pytest.mark.parametrize("task", [task for task, _ in ALL])
def test_solution_passes(task, capsys):
    check(task, exercises()[task].solution)
    assert capsys.readouterr().out == f"{task}: right.\n"


@pytest.mark.parametrize(("task", "name"), WRONG)
def test_wrong_answer_is_rejected_with_a_reason(task, name):
    with pytest.raises(WrongAnswer, match=r"gave .*, expected .*: \w+"):
        check(task, exercises()[task].wrong[name])


@pytest.mark.parametrize("task", [task for task, _ in ALL])
@pytest.mark.parametrize("nothing", [None, ...])
def test_starter_gets_a_hint_and_goes_on(task, nothing, capsys):
    check(task, lambda *arguments: nothing)
    assert capsys.readouterr().out == f"{task}: not attempted yet. Hint: {exercises()[task].hint}\n"


@pytest.mark.parametrize(("task", "exercise"), ALL)
def test_every_exercise_names_two_misconceptions(task, exercise):
    assert len(exercise.wrong) >= 2
    assert task == exercise.task


@pytest.mark.parametrize("task", [task for task, _ in ALL])
def test_solution_is_behind_a_click(task):
    folded = solution(task)
    assert repr(folded).startswith("def ")
    assert folded._repr_html_().startswith(f'<details class="wb-solution"><summary>Solution {task}</summary>')


def test_an_error_in_the_answer_is_the_readers_own():
    with pytest.raises(ZeroDivisionError):
        check("00.3", lambda count, seconds: 1 / 0)


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match=r"no exercise '99\.9'; there are 00\.1"):
        check("99.9", print)
