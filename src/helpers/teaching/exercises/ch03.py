"""Exercises of chapter 03: what a change builds again, wheels for another torch, and a secret in a layer."""

import re

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def built_again(before, after):
    kept = 0
    while kept < min(len(before), len(after)) and before[kept] == after[kept]:
        kept += 1
    return after[kept:]


BASE, TORCH, TOOLS, MNE, CODE = (
    "FROM python:3.11",
    "RUN pip install torch==2.10.0",
    "RUN pip install ninja==1.13.2",
    "RUN pip install mne==1.13.2",
    "ENV CHUNK=256",
)
CHANGES = {
    "nothing changed": ([BASE, TORCH, MNE], [BASE, TORCH, MNE]),
    "the last one changed": ([BASE, TORCH, MNE], [BASE, TORCH, "RUN pip install mne==1.14.0"]),
    "one in the middle changed": ([BASE, TORCH, MNE, CODE], [BASE, "RUN pip install torch==2.11.0", MNE, CODE]),
    "one was put in": ([BASE, TORCH, MNE], [BASE, TORCH, TOOLS, MNE]),
    "one was taken out": ([BASE, TORCH, TOOLS, MNE], [BASE, TORCH, MNE]),
    "two were exchanged": ([BASE, TORCH, TOOLS, MNE, CODE], [BASE, TOOLS, TORCH, MNE, CODE]),
    "one was added at the end": ([BASE, TORCH], [BASE, TORCH, MNE]),
    "the base changed": ([BASE, TORCH, MNE], ["FROM python:3.12", TORCH, MNE]),
}
AGAIN = dict(zip(CHANGES, (0, 1, 3, 2, 1, 4, 1, 3), strict=True))


def check_built_again(answer):
    for what, (before, after) in CHANGES.items():
        expected = after[len(after) - AGAIN[what] :]
        found = attempt(answer, list(before), list(after))
        if list(found) != expected:
            raise WrongAnswer(
                f"built_again({before}, {after}) gave {found}, expected {expected}: {what}. A layer is kept only while "
                "it and all before it are the same."
            )


def misfits(commands):
    text = "\n".join(commands)
    torch = re.search(r"\btorch==(\d+\.\d+)", text)[1]
    wheels = re.findall(r"/(\w+)-[^/\s]*?torch(\d+\.\d+)cxx11[^/\s]*\.whl", text)
    return [name for name, wanted in wheels if wanted != torch]


def _wheel(name, version, torch, cuda="12"):
    tags = f"cu{cuda}torch{torch}cxx11abiTRUE-cp311-cp311-linux_x86_64"
    return f"https://github.com/example/{name}/releases/download/v{version}/{name}-{version}+{tags}.whl"


def _image(torch, conv, mamba):
    return [
        "FROM python:3.11",
        f"RUN python -m pip install numpy==2.4.6 torch=={torch} torchvision==0.25.0",
        f"RUN python -m pip install {_wheel('causal_conv1d', '1.6.2', conv)} {_wheel('mamba_ssm', '2.3.1', mamba)}",
        "ENV CHUNK=256",
    ]


IMAGES = [
    (("2.10.0", "2.10", "2.10"), []),
    (("2.10.0", "2.10", "2.1"), ["mamba_ssm"]),
    (("2.1.2", "2.10", "2.1"), ["causal_conv1d"]),
    (("2.8.0", "2.9", "2.9"), ["causal_conv1d", "mamba_ssm"]),
    (("2.9.1", "2.9", "2.9"), []),
    (("2.10.0+cu128", "2.10", "2.9"), ["mamba_ssm"]),
]


def check_misfits(answer):
    for versions, expected in IMAGES:
        found = attempt(answer, _image(*versions))
        if sorted(found) != expected:
            torch, conv, mamba = versions
            raise WrongAnswer(
                f"misfits gave {found} for torch {torch}, causal_conv1d for torch {conv} and mamba_ssm for torch "
                f"{mamba}, expected {expected}: major and minor version have to agree, of each wheel."
            )


def leaking(layers, secrets):
    commands = [command for layer in layers for command in layer]
    return sorted(key for key, value in secrets.items() if value and any(value in command for command in commands))


SECRETS = {"STORAGE_KEY": "made-up-71c9", "TOKEN": "made-up-04e2", "REGION": ""}
LEAKS = {
    "a value in an ENV": ([["FROM python:3.11"], ["ENV STORAGE_KEY=made-up-71c9"]], ["STORAGE_KEY"]),
    "a value under another name": ([["FROM python:3.11"], ["ENV NOTHING=made-up-04e2"]], ["TOKEN"]),
    "a value in a RUN": ([["RUN curl -H 'key: made-up-71c9' https://example.org/data"]], ["STORAGE_KEY"]),
    "a name and no value": ([["FROM python:3.11"], ["RUN echo STORAGE_KEY TOKEN"]], []),
    "a file that is deleted later": ([["RUN echo made-up-04e2 > key"], ["RUN rm key"]], ["TOKEN"]),
    "the second command of a layer": (
        [["RUN true", "ENV A=made-up-71c9", "ENV B=made-up-04e2"]],
        ["STORAGE_KEY", "TOKEN"],
    ),
    "nothing": ([["FROM python:3.11"], ["RUN pip install mne"]], []),
}


def check_leaking(answer):
    for what, (layers, expected) in LEAKS.items():
        found = attempt(answer, [list(layer) for layer in layers], dict(SECRETS))
        if list(found) != expected:
            raise WrongAnswer(
                f"leaking({layers}, {SECRETS}) gave {found}, expected {expected}: {what}. Look for each value that is "
                "not empty in every command."
            )


def _changed_alone(before, after):
    return [command for command in after if command not in before]


def _by_place(before, after):
    pairs = zip(before, after, strict=False)
    return [new for old, new in pairs if old != new] + after[len(before) :]


def _everything(before, after):
    return [] if before == after else after


def _text_that_begins_alike(commands):
    text = "\n".join(commands)
    torch = re.search(r"\btorch==([\d.]+)", text)[1]
    return [
        name for name, wanted in re.findall(r"/(\w+)-[^/\s]*?torch([\d.]+)cxx11", text) if not torch.startswith(wanted)
    ]


def _major_alone(commands):
    text = "\n".join(commands)
    torch = re.search(r"\btorch==(\d+)", text)[1]
    return [name for name, wanted in re.findall(r"/(\w+)-[^/\s]*?torch(\d+)", text) if wanted != torch]


def _first_wheel(commands):
    return [name for name in misfits(commands) if name == "causal_conv1d"]


def _by_name(layers, secrets):
    text = "\n".join(command for layer in layers for command in layer)
    return sorted(key for key in secrets if key in text)


def _variables_alone(layers, secrets):
    text = "\n".join(command for layer in layers for command in layer if command.startswith("ENV"))
    return sorted(key for key, value in secrets.items() if value and value in text)


def _empty_is_everywhere(layers, secrets):
    text = "\n".join(command for layer in layers for command in layer)
    return sorted(key for key, value in secrets.items() if value in text)


def _last_layer(layers, secrets):
    return leaking(layers[-1:], secrets)


EXERCISES = [
    Exercise(
        "03.1",
        "count how many layers are the same from the base on; all that follow the first difference are built.",
        check_built_again,
        built_again,
        {
            "builds what changed, and not what follows": _changed_alone,
            "compares each place by itself": _by_place,
            "builds everything": _everything,
        },
    ),
    Exercise(
        "03.2",
        "a regular expression each: for the number behind torch==, and, in an address, for the word behind the last "
        "slash and the number between torch and cxx.",
        check_misfits,
        misfits,
        {
            "takes 2.1 for 2.10": _text_that_begins_alike,
            "compares the major version alone": _major_alone,
            "looks at the first wheel": _first_wheel,
        },
    ),
    Exercise(
        "03.3",
        "for each key, ask whether its value is not empty and stands in any command of any layer.",
        check_leaking,
        leaking,
        {
            "looks for the name": _by_name,
            "looks at variables alone": _variables_alone,
            "finds an empty value everywhere": _empty_is_everywhere,
            "looks at the last layer": _last_layer,
        },
    ),
]
