"""The card under a chapter's title: how long to read, how long to run and on what, what that run costs on Modal.

All of it comes from the chapter itself: reading time from its cells, the rest from the stamps that
`helpers.teaching.execute` left in its metadata. What made the stored outputs is folded in below.
"""

import hashlib
import html
import json
import math
import re
from pathlib import Path

# Reading time: 200 words a minute, and 4 seconds for each line of code that the page shows, rounded up to 5 minutes.
# Outputs, exercises that are tried, and cells that are run and waited for are not in it.
WORDS_A_MINUTE = 200
SECONDS_A_LINE = 4
ROUNDED_TO = 5  # minutes
UNSEEN = {"remove-cell", "remove-input"}


def read_chapter(app, name):
    """The notebook of a page as a dictionary, or None where the page or the named chapter has none."""
    path = Path(app.srcdir) / f"{name}.ipynb"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def show_card(app, pagename, templatename, context, doctree):
    """Put the card under the title of a chapter; of other pages, nothing changes."""
    chapter = read_chapter(app, pagename) if context.get("body") else None
    if chapter:
        shown = card(chapter, Path(app.srcdir) / "src")
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{shown}", 1)


def card(chapter, sources):
    """The card of a chapter, as HTML; `sources` is the folder of the package that it ran with."""
    meta = chapter["metadata"].get("workbook", {})
    lanes = [(lane, meta["lanes"][lane]) for lane in ("gpu", "cpu") if lane in meta.get("lanes", {})]
    facts = [("Read", f"about {reading_minutes(chapter)} min", "exercises not counted")]
    for lane, stamp in lanes:
        facts += [run_fact(lane, stamp)] + ([cost_fact(stamp)] if lane == "gpu" else [])
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd><strong>{html.escape(value)}</strong> {html.escape(note)}</dd></div>"
        for name, value, note in facts
    )
    if lanes:
        rows = "".join(f"<li>{html.escape(row)}</li>" for row in certificate(chapter, lanes))
        origin = f"<details><summary>What made the stored outputs</summary><ul>{rows}</ul></details>"
        if changed := changed_modules(lanes, sources):
            origin += f"<p>Code changed since these outputs were stored: {html.escape(', '.join(changed))}.</p>"
    else:
        origin = "<p>Outputs without a stamp: nobody knows what made them.</p>"
    return f'<aside class="wb-card" aria-label="This chapter at a glance"><dl>{cells}</dl>{origin}</aside>'


def changed_modules(lanes, sources):
    """The modules of `helpers` that a lane ran and that are other ones now."""
    changed = set()
    for _, stamp in lanes:
        for name, digest in stamp.get("modules", {}).items():
            place = sources.joinpath(*name.split("."))
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                changed.add(name)
    return sorted(changed)


def reading_minutes(chapter):
    """Minutes to read a chapter, by the rule at the top of this file."""
    source = {"markdown": "", "code": ""}
    for cell in chapter["cells"]:
        if cell["cell_type"] in source and not UNSEEN & set(cell["metadata"].get("tags", [])):
            source[cell["cell_type"]] += "".join(cell["source"]) + "\n\n"
    words = len(re.findall(r"\w[\w'’.,-]*", re.sub(r"<[^>]+>|\]\([^)]*\)", " ", source["markdown"])))
    lines = sum(bool(line.strip()) for line in source["code"].splitlines())
    minutes = words / WORDS_A_MINUTE + lines * SECONDS_A_LINE / 60
    return max(ROUNDED_TO, math.ceil(minutes / ROUNDED_TO) * ROUNDED_TO)


def run_fact(lane, stamp):
    """How long a lane took, and on what."""
    memory = "peak_gpu_mib" if lane == "gpu" else "peak_mib"
    note = f"on {stamp['device'].replace('NVIDIA ', '')}"
    if stamp.get(memory):
        note += f", {gib(stamp[memory])} of {'GPU ' if lane == 'gpu' else ''}memory"
    return "Run on a GPU" if lane == "gpu" else "Run on a CPU", duration(stamp["seconds"]), note


def cost_fact(stamp):
    """What the run of the GPU lane would cost on Modal."""
    count, found = price_of(stamp)
    name = "The same GPU, rented" if count == 1 else f"The same {count} GPUs, rented"
    if found is None:
        return name, "no price known", "for this GPU"
    return (
        name,
        dollars(stamp["seconds"] * count * found.dollars_per_second),
        f"on Modal, a cloud service; price of {found.date:%Y-%m}, GPU alone",
    )


def certificate(chapter, lanes):
    """What made the stored outputs, one sentence a lane; then what the price stands on."""
    own = {tag for cell in chapter["cells"] for tag in cell["metadata"].get("tags", [])}
    for lane, stamp in lanes:
        run = f"{lane.upper()} run"
        if lane == chapter["metadata"]["workbook"]["home"]:
            run += ", which stored the outputs"
        elif f"lane:{lane}" in own:
            run += ", which stored the outputs of its own cells"
        driver = f", driver {stamp['driver']}" if stamp.get("driver") else ""
        versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())
        took = f"{stamp['seconds']:.0f} s, at most {gib(stamp['peak_mib'])} of memory"
        if stamp.get("peak_gpu_mib"):
            took += f" and {gib(stamp['peak_gpu_mib'])} of GPU memory"
        seeds = f"seed {', '.join(map(str, stamp['seed']))}; " if stamp.get("seed") else ""
        made = f"{seeds}commit {stamp['commit']}, {stamp['date']}"
        yield f"{run}: {stamp['device']}{driver}; {versions}; {took}; {made}."
    yield from (price_note(stamp) for lane, stamp in lanes if lane == "gpu" and price_of(stamp)[1])


def price_of(stamp):
    """How many GPUs a lane had, and the price of one, or None; several stand as ``2 × NVIDIA H200`` in a stamp."""
    from helpers.cloud import price

    count, _, name = stamp["device"].rpartition(" × ")
    return int(count or 1), price(name)


def price_note(stamp):
    """Where the price of a lane's GPU comes from, and what it leaves out."""
    _, found = price_of(stamp)
    rate = f"${found.dollars_per_second:.6f} a second for one {found.name} on {found.date}"
    left_out = "CPU cores, memory and the start of the container come on top"
    return f"Price: {rate}, according to {found.source}. We did not read that page. {left_out}."


def duration(seconds):
    """Seconds as a reader says them: 50 s, 4 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def dollars(amount):
    """An amount as a reader says it: under one cent, about $0.06."""
    return "under one cent" if amount < 0.01 else f"about ${amount:.2f}"


def gib(mib):
    """Memory, from MiB."""
    return f"{mib / 1024:.1f}\N{NO-BREAK SPACE}GiB"
