"""Make the shipped weights anew: draw synthetic subjects, train on them, score on others and on a real recording.

    python weights/rebuild.py

takes about 7 minutes on an H100 and writes ``synthetic.pt``, ``synthetic.json`` and the tables of the card, README.md,
beside this file. With ``--score`` nothing is trained, and the weights that are there are scored again, which a CPU does
in some minutes. A GPU adds numbers up in another order each time, so that trained anew they come out alike, not equal.
"""

import argparse
import json
import re
import tempfile
from functools import partial
from pathlib import Path

from rich.progress import Progress

from helpers.detection import best_device, detect_by_network, detect_by_rule, evaluate, load_detector
from helpers.eeg import fetch, open_store, prepare
from helpers.eeg.synthetic import write_recordings
from helpers.training import fit, read_checkpoint

HERE = Path(__file__).parent
DRAWN = {
    "training": {"subjects": 64, "minutes": 15, "seed": 1},
    "unseen": {"subjects": 32, "minutes": 30, "seed": 2},
}
TITLES = {"unseen": "Unseen synthetic subjects", "absence": "The real recording"}


def train(weights, config, drawn, work, bar):
    """Draw subjects, prepare their recordings and train on them."""
    write_recordings(work / "training", **drawn["training"], progress=bar("Drawing, training"))
    prepare(work / "training", work / "store", progress=bar("Preparing"))
    trained = fit(config, open_store(work / "store"), work / "run", progress=bar("Training"))
    weights.write_bytes(trained.detector.read_bytes())


def score(weights, drawn, work, bar):
    """Score weights and the one-feature rule on other subjects and on the real recording; figures for JSON."""
    write_recordings(work / "unseen", **drawn["unseen"], progress=bar("Drawing, unseen"))
    detectors = [partial(detect_by_network, weights=weights), detect_by_rule]
    training = read_checkpoint(weights)["training"]
    validation = training.pop("validations")[-1]
    figures = {
        "drawn": drawn,
        "bytes": weights.stat().st_size,
        "parameters": sum(tensor.numel() for tensor in load_detector(weights)[0].parameters()),
        "training": training,
        "validation": validation,
        "scored_on": best_device(),
    }
    for name, recordings in {"unseen": work / "unseen", "absence": [fetch("absence")]}.items():
        found, left_out = evaluate(recordings, detectors, bar(f"Scoring, {name}"))
        if left_out:
            raise SystemExit(f"left out: {left_out}")
        figures[name] = [one.as_dict() for one in found]
    return figures


def tables(figures):
    """The figures as Markdown: one table for the unseen subjects, one for the real recording."""
    text = ""
    for name, title in TITLES.items():
        network, rule = figures[name]
        size = f"{network['recordings']} × {60 * network['hours'] / network['recordings']:.0f} min, "
        marked, merged = network["overlap"]["reference"], network["event"]["reference"]
        text += f"**{title}** ({size}{marked} marked seizures; SzCORE makes {merged} of them):\n\n"
        text += "| measured | this detector | the rule |\n|---|---|---|\n"
        for row, cell in list(ROWS.items())[: len(ROWS) if merged > 1 else -1]:  # with one seizure it is 0 or 1
            text += f"| {row} | {cell(network)} | {cell(rule)} |\n"
        text += "\n"
    return text


def _number(value, form=".3f"):
    return "–" if value is None else format(value, form)


ROWS = {
    "AUROC over seconds": lambda one: _number(one["auroc"]),
    "AUPRC (a guess: the share of ictal seconds)": lambda one: f"{_number(one['auprc'])} ({_number(one['ictal'])})",
    "expected calibration error, Brier score": lambda one: f"{_number(one['ece'])}, {_number(one['brier'])}",
    "found, each by itself": lambda one: f"{one['overlap']['found']} of {one['overlap']['reference']}",
    "false alarms, each by itself, an hour": lambda one: _number(one["overlap"]["false_alarms_per_24h"] / 24, ".2f"),
    "found, by SzCORE": lambda one: f"{one['event']['found']} of {one['event']['reference']}",
    "false alarms, by SzCORE, in 24 h": lambda one: _number(one["event"]["false_alarms_per_24h"], ".1f"),
    "sensitivity of a subject, mean ± SD": lambda one: " ± ".join(
        _number(one["over_subjects"]["sensitivity"][key], ".2f") for key in ("mean", "std")
    ),
    "F1 by SzCORE, of events, of seconds": lambda one: ", ".join(_number(one[by]["f1"]) for by in ("event", "sample")),
    "best sensitivity at 10, 5, 2.5, 1 false alarms in 24 h": lambda one: ", ".join(
        _number(point["sensitivity"], ".2f") for point in one["operating_points"].values()
    ),
}


def write_card(output):
    """Put the tables between their marks in the card."""
    card = output / "README.md"
    figures = json.loads((output / "synthetic.json").read_text())
    marks = "(<!-- tables -->\n)(.*?)(<!-- end of tables -->)"
    text, count = re.subn(marks, lambda at: f"{at[1]}\n{tables(figures)}{at[3]}", card.read_text(), flags=re.S)
    if count != 1:
        raise SystemExit(f"{card}: {count} places for the tables; expected one, between two marks.")
    card.write_text(text)


def main():
    """Rebuild, or write the tables again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE, help="folder with the card, README.md")
    parser.add_argument("--config", default="small", help="a configuration of `workbook train`")
    parser.add_argument("--score", action="store_true", help="train nothing: score the weights that are there")
    parser.add_argument("--card", action="store_true", help="only the card's tables, from synthetic.json")
    parser.add_argument("--subjects", type=int, nargs=2, help="to train on, and unseen; fewer for a trial")
    options = parser.parse_args()
    weights = options.output / "synthetic.pt"
    if not options.card:
        drawn = {name: dict(how) for name, how in DRAWN.items()}
        for how, subjects in zip(drawn.values(), options.subjects or (), strict=False):
            how["subjects"] = subjects
        with tempfile.TemporaryDirectory() as work, Progress() as bars:

            def bar(text):
                task = bars.add_task(text, total=None)
                return lambda done, total: bars.update(task, completed=done, total=total)

            if not options.score:
                train(weights, options.config, drawn, Path(work), bar)
            figures = score(weights, drawn, Path(work), bar)
        (options.output / "synthetic.json").write_text(json.dumps(figures, indent=1) + "\n")
    write_card(options.output)
    print(f"wrote to {options.output}")


if __name__ == "__main__":
    main()
