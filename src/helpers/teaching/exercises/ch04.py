"""Exercises of chapter 04: arguments counted by parsing, a wheel's name read, and two files changed or none."""

import ast
import random
import textwrap

from helpers.teaching.exercises import Exercise, NotAttempted, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def count_arguments(source, function):
    counts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == function:
            counts.append(len(node.args) + len(node.keywords))
    return sorted(counts)


SOURCES = {
    "one call over three lines": ("y = ext.conv_fwd(\n    x, weight,\n    None\n)", [3]),
    "a call inside an argument": ("y = ext.conv_fwd(rearrange(x, 'b s d'), weight, f(1, 2, 3), True)", [4]),
    "a comma in a text": ("y = ext.conv_fwd(x, 'a, b, c')", [2]),
    "an argument by name": ("y = ext.conv_fwd(x, weight, silu=True)", [3]),
    "a comment and another function": ("# ext.conv_fwd(1)\nz = ext.conv_bwd(1, 2)\ny = ext.conv_fwd(1, 2, 3, 4)", [4]),
    "two calls": ("def f():\n    return ext.conv_fwd(1, 2) + ext.conv_fwd(1)", [1, 2]),
    "a call without arguments": ("ext.conv_fwd()", [0]),
    "no call": ("ext.conv_fwd", []),
}


def check_count_arguments(answer):
    for name, (source, expected) in SOURCES.items():
        found = attempt(answer, source, "conv_fwd")
        if sorted(found) != expected:
            shown = textwrap.shorten(source, 60)
            raise WrongAnswer(
                f"count_arguments({shown!r}, 'conv_fwd') gave {found}, expected {expected}: {name}. Count what the "
                "parser says, node.args and node.keywords, not characters."
            )


def imports_here(name, python, machine):
    *_, tag, _, platform = name.removesuffix(".whl").split("-")
    right_python = any(each in (python, "py3") for each in tag.split("."))
    return right_python and (platform == "any" or platform.endswith(f"_{machine}"))


def check_imports_here(answer):
    cases = [
        ("mamba_ssm-2.2.4+cu12torch2.5cxx11abiTRUE-cp310-cp310-linux_x86_64.whl", "cp310", "aarch64", False),
        ("mamba_ssm-2.3.1+cu12torch2.7cxx11abiTRUE-cp310-cp310-linux_aarch64.whl", "cp310", "aarch64", True),
        ("mamba_ssm-2.3.1+cu12torch2.7cxx11abiTRUE-cp312-cp312-linux_aarch64.whl", "cp310", "aarch64", False),
        ("einops-0.8.2-py3-none-any.whl", "cp310", "aarch64", True),
        ("torch-2.7.1-cp310-cp310-manylinux_2_28_aarch64.whl", "cp310", "aarch64", True),
        ("torch-2.7.1-cp310-cp310-manylinux_2_28_x86_64.whl", "cp310", "x86_64", True),
        ("six-1.17.0-py2.py3-none-any.whl", "cp312", "aarch64", True),
        ("aarch64_tools-1.0-cp310-cp310-linux_x86_64.whl", "cp310", "aarch64", False),
    ]
    for name, python, machine, expected in cases:
        found = attempt(answer, name, python, machine)
        if bool(found) is not expected:
            raise WrongAnswer(
                f"imports_here({name!r}, {python!r}, {machine!r}) gave {found}, expected {expected}: of the last three "
                "parts the first is the Python (py3: any), the last the system and the machine (any: all)."
            )


def write_all(files, changes, write):
    before = {name: files[name] for name in changes}
    done = []
    try:
        for name, content in changes.items():
            write(name, content)
            done.append(name)
    except OSError:
        for name in done:
            write(name, before[name])
        raise


def check_write_all(answer):
    draw = random.Random(4)
    names = ["scan.py", "combined.py", "norm.py"]
    for failing in (None, 1, 2, 3):
        files = {name: f"old {draw.randrange(100)}" for name in names}
        changes = {name: f"new {draw.randrange(100)}" for name in names}
        before, calls, raised = dict(files), [], False

        def write(name, content, files=files, calls=calls, failing=failing):
            calls.append(name)
            if len(calls) == failing:
                raise OSError("no space left on device")
            files[name] = content

        try:
            answer(files, changes, write)
        except OSError:
            raised = True
        if not calls:
            raise NotAttempted
        expected, when = (changes, "no error") if failing is None else (before, f"an error in write {failing}")
        if files != expected:
            raise WrongAnswer(f"with {when}, write_all gave {files}, expected {expected}: all of the files or none.")
        if raised is (failing is None):
            raise WrongAnswer(
                f"with {when}, write_all gave {'an' if raised else 'no'} OSError, expected it where a write fails: who "
                "called has to hear of it."
            )


def _counts_commas(source, function):
    inside = source.partition(f"{function}(")[2].rpartition(")")[0]
    return [inside.count(",") + 1] if inside else []


def _positional_only(source, function):
    return [
        len(node.args)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == function
    ]


def _any_function(source, function):
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [len(node.args) + len(node.keywords) for node in calls]


def _looks_anywhere(name, python, machine):
    return python in name and machine in name


def _machine_alone(name, python, machine):
    return name.endswith((f"_{machine}.whl", "-any.whl"))


def _trusts_pip(name, python, machine):
    return name.endswith(".whl")


def _no_way_back(files, changes, write):
    for name, content in changes.items():
        write(name, content)


def _swallows(files, changes, write):
    before = dict(files)
    try:
        for name, content in changes.items():
            write(name, content)
    except OSError:
        files.update(before)


def _keeps_no_copy(files, changes, write):
    done = []
    try:
        for name, content in changes.items():
            write(name, content)
            done.append(name)
    except OSError:
        for name in done:
            write(name, files[name])
        raise


EXERCISES = [
    Exercise(
        "04.1",
        "ast.walk(ast.parse(source)) gives every node; take the ast.Call whose func is an ast.Attribute of that name.",
        check_count_arguments,
        count_arguments,
        {
            "counts commas": _counts_commas,
            "forgets arguments that are given by name": _positional_only,
            "counts every call": _any_function,
        },
    ),
    Exercise(
        "04.2",
        "name.removesuffix('.whl').split('-') ends in Python, ABI and platform; the platform ends in the machine.",
        check_imports_here,
        imports_here,
        {
            "looks for the words anywhere in the name": _looks_anywhere,
            "looks at the machine alone": _machine_alone,
            "takes whatever is a wheel": _trusts_pip,
        },
    ),
    Exercise(
        "04.3",
        "keep the old contents first; in `except OSError`, write back those that were written, and `raise`.",
        check_write_all,
        write_all,
        {
            "leaves the first file changed": _no_way_back,
            "keeps the error to itself": _swallows,
            "reads the old content when it is gone": _keeps_no_copy,
        },
    ),
]
