"""What chapter 03 needs around Modal: the client's command against the model of the service, and layers as a picture.

The model is `helpers.cloud.LocalModal`; nothing here reaches Modal. `modal_run` prints what a reader has to see and
leaves out the client's progress lines; `python -m helpers.cloud --` shows all of it.
"""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt

from helpers.cloud import LocalModal
from helpers.environment import LabError
from helpers.teaching.plots import COLORS, style

__all__ = ["checkout", "label", "layers_figure", "modal_run"]

_REPOSITORY = "https://github.com/clarity-digital-twin/bimamba-eeg-workbook"
_PROGRESS = re.compile(r"^(\[model, not run\]|[├└│╭╰✓])")  # of the build, of uploads, and the client's own traceback
_PLAIN = {"NO_COLOR": "1", "COLUMNS": "200"}  # and lab.run drops FORCE_COLOR, which a notebook's kernel sets
_WIDTH = 92  # characters of a layer's label


def checkout(lab):
    """Folder of the workbook's repository, whose ``env/modal/app.py`` is no part of the installed package.

    Parameters
    ----------
    lab : Lab
        Where the repository is cloned to if neither this folder nor one above it is a checkout, as on Colab.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        Where it is not here and cannot be cloned.
    """
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[3]):
        if (folder / "env" / "modal" / "app.py").is_file():
            return folder
    release = version("bimamba-eeg-workbook")
    try:
        lab.run("git", "clone", "--quiet", "--depth", "1", "--branch", f"v{release}", _REPOSITORY, lab / "workbook")
    except LabError as fault:
        raise FileNotFoundError(
            f"no env/modal/app.py in this folder or above, and {_REPOSITORY} cannot be cloned. Clone it by hand and "
            "open the chapter from its folder notebooks."
        ) from fault
    return lab / "workbook"


def modal_run(lab, *words, **model):
    """Run ``modal WORDS`` against a fresh model of Modal, and print what it and the containers say.

    Where this machine cannot run containers, the call ends with a line that says so.

    Parameters
    ----------
    lab : Lab
        In its folder; there, files are found by their names alone.
    *words : str or Path
        ``"run", "first.py", "--x", "4"``.
    **model
        As for `LocalModal`: ``run=False`` records only, ``secrets={"name": {"KEY": "value"}}`` are there.

    Returns
    -------
    LocalModal
        With all that it recorded.

    Raises
    ------
    LabError
        Where the command failed; the message is what it said, without the client's own traceback. A container's
        files are shown below ``~``, which is ``/root`` there.
    """
    with LocalModal(**model) as service:
        command = (sys.executable, "-m", "modal", *words)
        try:
            said = _readable(lab.run(*command, env=service.client_environment() | _PLAIN, timeout=900))
        except LabError as fault:
            said = _readable(fault.output)
            if not any(attempt["status"] == "recorded" for attempt in service.attempts):
                raise LabError(said, fault.output, fault.returncode) from None
            said = f"Recorded, not run: {service.refused}." if model.get("run", True) else ""
    if said:
        print(said)
    return service


def _readable(said):
    lines = [line.rstrip() for line in said.replace("/root/", "~/").splitlines()]
    start = next((i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")), len(lines))
    kept = [line for line in lines[:start] if not _PROGRESS.match(line)]
    raised = [line for line in lines[start:] if re.match(r"(\w+\.)*\w+(Error|Exception)\b", line)]
    return "\n".join(kept + raised[-1:])


def label(layer):
    """A layer in one line: its command, or the one of several that says most, shortened.

    Parameters
    ----------
    layer : dict
        One of `LocalModal.layers`.

    Returns
    -------
    str
    """
    commands = [line for line in layer["commands"] if line != "FROM base"]
    first = commands[0].startswith(("FROM", "ENV"))  # which of several says most
    text = re.sub(r"^RUN |python -m | --constraint \S+", "", commands[0 if first else -1])
    wheels = re.findall(r"/([\w.-]+)\+([\w.]+-cp\d+)-cp\d+-linux_x86_64\.whl", text)
    packages = re.findall(r"(?<= )[\w.-]+==\S+", text)
    if wheels:
        text = f"pip install {' '.join(name for name, _ in wheels)}, for {wheels[0][1]}"
    elif len(packages) > 4:
        text = f"pip install {packages[0]} {packages[1]} … {packages[-1]} ({len(packages)} packages)"
    text = re.sub(r"https://\S+/", "", text)
    text = f"on {layer['gpu']}: {text}" if layer["gpu"] else text
    more = f" (1 of {len(commands)} commands)" if len(commands) > 1 else ""
    room = _WIDTH - len(more)
    return (text if len(text) <= room else f"{text[: room - 1]}…") + more


def layers_figure(layers, files, changed=None):
    """Layers in the order in which they are built, the mounted files below, and what a change has built again.

    Parameters
    ----------
    layers : list of dict
        As of `LocalModal.layers`, from the base.
    files : str
        Name for the files that are mounted when a container starts.
    changed : int, optional
        Index of the layer that changes; ``len(layers)`` for the mounted files.

    Returns
    -------
    matplotlib.figure.Figure
    """
    changed = len(layers) + 1 if changed is None else changed
    rows = [*(label(layer) for layer in layers), files]
    with style():
        figure, axes = plt.subplots(figsize=(9.5, 0.52 * len(rows) + 0.7), layout="constrained")
        for index, text in enumerate(rows):
            mounted, again = index == len(layers), index >= changed
            y = index + 0.45 * mounted
            axes.barh(
                y,
                1,
                height=0.78,
                color="#fdf1dd" if again else "white",
                edgecolor=COLORS["marked"] if again else COLORS["quiet"],
                linestyle="--" if mounted else "-",
                linewidth=2 if again else 1,
            )
            axes.text(0.012, y, text, va="center", family="monospace", fontsize=8)
            words = ("sent again" if mounted else "built again") if again else "kept"
            axes.text(1.012, y, words, va="center", fontweight="bold" if again else "normal", fontsize=9)
        axes.set(xlim=(0, 1.12), ylim=(len(rows) + 0.1, -0.6))
        axes.axis("off")
        axes.set_title("Layers, in the order in which they are built; dashed: mounted when a container starts")
    return figure
