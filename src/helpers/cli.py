"""The `workbook` command: a thin face on `helpers`. Every heavy import is inside the command that needs it."""

import sys
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

_SLOW_CELL = 10  # s

app = typer.Typer(
    name="workbook",
    help="The Bi-Mamba-2 EEG Workbook: from a bare machine to an honestly scored seizure detector.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Recordings that the chapters use.", no_args_is_help=True)
app.add_typer(data, name="data")
bench = typer.Typer(help="Measure this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")
patch = typer.Typer(help="Mend what is installed.", no_args_is_help=True)
app.add_typer(patch, name="patch")


@bench.callback()
def _bench():
    pass


@patch.callback()
def _patch():
    pass


class Method(str, Enum):
    """Detection methods."""

    rule = "rule"
    network = "network"


class Mixing(str, Enum):
    """How a layer joins its two directions."""

    concat = "concat"
    sum = "sum"
    shared = "shared"


class Backend(str, Enum):
    """What computes a layer."""

    auto = "auto"
    torch = "torch"
    mamba_ssm = "mamba_ssm"
    conv1d = "conv1d"


class Lane(str, Enum):
    """Where a chapter runs."""

    gpu = "gpu"
    cpu = "cpu"


def _version(asked):
    if asked:
        import helpers

        print(f"workbook {helpers.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
):
    pass


@app.command()
def preflight(
    as_json: Annotated[bool, typer.Option("--json", help="Print the same facts as one JSON object.")] = False,
):
    """What this machine is and what will run on it. Exit code 1 where a notebook would not run."""
    from helpers.environment import main as environment

    raise typer.Exit(environment(["preflight", *(["--json"] if as_json else [])]))


@app.command()
def explain(
    file: Annotated[str, typer.Argument(help="A log; - or nothing: standard input.")] = "-",
    as_json: Annotated[bool, typer.Option("--json", help='Print {"causes": [...]}, best first.')] = False,
):
    """Why an install, an import or a run of mamba-ssm failed: paste its log. Exit code 1 where it is unknown."""
    from helpers.environment import main as environment

    raise typer.Exit(environment(["explain", *(["--json"] if as_json else []), "--", file]))


@app.command()
def doctor(
    python: Annotated[
        str | None, typer.Option(metavar="PATH", help="Examine another interpreter, or a virtual environment.")
    ] = None,
    no_import: Annotated[bool, typer.Option("--no-import", help="Read files only, under 2 s; try no import.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON object.")] = False,
):
    """Which layer of torch, mamba-ssm and causal-conv1d is broken, and the fix here. Exit code 1 where one is."""
    from helpers.environment import main as environment

    options = [*([f"--python={python}"] if python is not None else []), *(["--no-import"] if no_import else [])]
    raise typer.Exit(environment(["doctor", *options, *(["--json"] if as_json else [])]))


@app.command()
def plan(
    torch: Annotated[
        str | None, typer.Option(metavar="2.5.1+cu124", help="The one installed here if left out.")
    ] = None,
    cuda: Annotated[str | None, typer.Option(metavar="12.4", help="Of torch; its version may tell it already.")] = None,
    abi: Annotated[
        str | None, typer.Option(metavar="TRUE|FALSE", help="What torch._C._GLIBCXX_USE_CXX11_ABI says.")
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="3.11", help="This one if left out.")] = None,
    platform: Annotated[str | None, typer.Option(metavar="linux_x86_64", help="This one if left out.")] = None,
    gpu: Annotated[str | None, typer.Option(metavar="9.0", help="Compute capability, or none.")] = None,
    mamba: Annotated[str | None, typer.Option(metavar="2.2.4", help="Keep to this mamba-ssm.")] = None,
    causal_conv1d: Annotated[
        str | None, typer.Option("--causal-conv1d", metavar="1.5.0.post8", help="Keep to this causal-conv1d.")
    ] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all pairs and commands as one object.")] = False,
):
    """What to install of mamba-ssm and causal-conv1d, and what pip would do. Exit code 1 where there is no way."""
    from helpers.environment import main as environment

    given = {"torch": torch, "cuda": cuda, "abi": abi, "python": python, "platform": platform, "gpu": gpu}
    given |= {"mamba": mamba, "causal-conv1d": causal_conv1d}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    flags = [*(["--commands"] if commands else []), *(["--json"] if as_json else [])]
    raise typer.Exit(environment(["plan", *options, *flags]))


@patch.command()
def jetson(
    check: Annotated[bool, typer.Option("--check", help="Look, change nothing; so does no option.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Patch both sources of mamba_ssm 2.2.2 or 2.2.4.")] = False,
    revert: Annotated[bool, typer.Option("--revert", help="Take the patch back, byte for byte.")] = False,
    site: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder that contains mamba_ssm (site-packages).", show_default=False),
    ] = None,
):
    """Whether mamba-ssm and causal-conv1d fit each other; which release to take, and a patch. Exit code 1: no."""
    from helpers.environment import main as environment

    chosen = [f"--{name}" for name, asked in (("check", check), ("apply", apply), ("revert", revert)) if asked]
    if len(chosen) > 1:
        _fail(f"found {' and '.join(chosen)}, expected one of them. Give one, or none to look only.", 2)
    raise typer.Exit(environment(["patch", "jetson", *chosen, *([f"--site={site}"] if site is not None else [])]))


@data.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings of CHB-MIT (40 MB each), say chb01_03; all that the chapters use if left out."),
    ] = None,
):
    """Fetch recordings (53 MB) and what the labs break (42 MB) into the cache, once, checked by hash."""
    from helpers.eeg import DATASETS, RecordingError, cached
    from helpers.eeg import fetch as fetch_one
    from helpers.eeg.chbmit import SOURCE
    from helpers.environment import ArtifactError, fetch_artifacts, wheelhouse

    for name in names or DATASETS:
        try:
            there = cached(name)
            with _bar(f"Fetching {name}", unit="bytes") as progress:
                path = there or fetch_one(name, progress)
        except RecordingError as fault:
            _fail(fault)
        print(f"{name}: {'already here' if there else 'fetched'}, {path}")
        dataset = DATASETS.get(name)
        print(f"  {dataset.title}\n  {dataset.source}, {dataset.licence}" if dataset else f"  {SOURCE}")
    if names:
        return
    try:
        with _bar("Fetching what the labs break", unit="files") as progress:
            fetch_artifacts(progress)
    except ArtifactError as fault:
        _fail(fault)
    print(f"labs: {wheelhouse().parent}")
    print("  releases of mamba-ssm and causal-conv1d as on PyPI, and wheels for throwaway environments")


@app.command()
def synthetic(
    folder: Annotated[Path, typer.Argument(help="Made if needed; holds nothing else.")],
    subjects: Annotated[int, typer.Option(min=1, help="Each has a spectrum, habits and seizures of its own.")] = 8,
    recordings: Annotated[int, typer.Option(min=1, help="Of each subject.")] = 1,
    minutes: Annotated[float, typer.Option(min=3, max=1440, help="Of each recording.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    sfreq: Annotated[int, typer.Option(min=100, help="Samples a second.")] = 256,
):
    """Write synthetic EEG with seizures and hard negatives: EDF+ files, labelled synthetic, and their events (TSV)."""
    from helpers.eeg import RecordingError
    from helpers.eeg.synthetic import write_recordings

    try:
        with _bar("Drawing", unit="recordings") as progress:
            paths = write_recordings(
                folder, subjects, minutes, seed, recordings=recordings, sfreq=sfreq, progress=progress
            )
    except RecordingError as fault:
        _fail(fault)
    except OSError as fault:
        _fail(f"{folder}: cannot write there ({fault.strerror or fault}). Choose another folder.")
    print(f"wrote {len(paths)} recordings of {minutes:g} minutes to {folder}: synthetic EEG, no patient was recorded")


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of EDF, EDF+ or BDF recordings, marks beside them.")],
    store: Annotated[Path, typer.Option(help="Folder of the store; made if needed, taken up again if there.")] = Path(
        "store"
    ),
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Estimate missing electrodes, and those a bipolar recording lacks.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as many as cores if left out.", show_default=False)
    ] = None,
):
    """Prepare recordings for training: filtered, at 256 Hz, one memory-mapped array each, and which windows there are.

    Run it again after a stop: what was done is kept. A bad recording is left out, and listed at the end.
    """
    from helpers.eeg import RecordingError, StoreError, build_manifest, open_store
    from helpers.eeg import prepare as prepare_all

    try:
        with _bar("Preparing", unit="recordings") as progress:
            report = prepare_all(folder, store, interpolate=interpolate, workers=workers, progress=progress)
        print(report)
        if not report.prepared and not report.kept:
            _fail(f"none of the {len(report.left_out)} recordings could be prepared; the reasons are above.")
        prepared = open_store(store)
        manifest = build_manifest(prepared)
    except (RecordingError, StoreError) as fault:
        _fail(fault)
    except KeyboardInterrupt:
        _fail("stopped by Ctrl-C. What was prepared stays; the same command goes on with the rest.", 130)
    counts, quotas = manifest.counts, manifest.quotas
    shown = ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    short = [f"{counts[kind]:,} of {quotas[kind]:,} {kind}" for kind in counts if counts[kind] < quotas[kind]]
    print(f"in the store: {len(prepared.recordings)} recordings of {len(prepared.subjects)} subjects")
    print(f"windows by their share of seizure: {shown}")
    if short:
        print(f"a balanced set of them has fewer than it asks for: {', '.join(short)}")


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(help="A YAML file, or one of the package's: smoke (minutes on a CPU), small, full.")
    ],
    store: Annotated[Path, typer.Option(help="Prepared recordings, from `workbook prepare`.")] = Path("store"),
    output: Annotated[Path, typer.Option(help="Folder of the run; made if needed.")] = Path("run"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint; begin where there is none.")
    ] = False,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Go on although the store is not the one it was trained on.")
    ] = False,
):
    """Train a detector. It can be stopped at any time; --resume takes the very next step.

    Ctrl-C and SIGTERM let it finish its step and save it; a second Ctrl-C does not wait.

    Writes last.ckpt to go on from, detector.pt with the weights of the best validation, and tensorboard/.
    """
    import os
    import shlex

    from helpers.eeg import StoreError, open_store
    from helpers.training import TrainingError, fit, load_config

    silent = os.environ.get("LOCAL_RANK", "0") != "0"  # one of several processes on one machine; the first one speaks
    try:
        checked, data = load_config(config), open_store(store)
        if not silent:
            print(f"training {config} on {len(data.recordings)} recordings of {len(data.subjects)} subjects")
        with _bar("Training", unit="steps") as bar:
            found = fit(checked, data, output, resume, _saying_where(bar), _print_validation, other_data)
    except (StoreError, TrainingError) as fault:
        _fail(fault)
    except (KeyboardInterrupt, SystemExit) as end:
        cause, code = ("Ctrl-C", 130) if isinstance(end, KeyboardInterrupt) else ("SIGTERM", end.code)
        again = ["workbook", "train", config, "--store", str(store), "--output", str(output), "--resume"]
        if silent:
            raise typer.Exit(code) from None
        _fail(f"stopped by {cause}. To go on from the last step that was saved: {shlex.join(again)}", code)
    if silent:
        return
    best, rest = found.best, ", ".join(found.splits.get("test", ()))
    print(f"ended: {found.ended}; the best validation was at step {best['step']}")
    if rest:
        print(f"subjects it has not seen: {rest}")
    weights = shlex.quote(str(output / found.detector.name))
    print(f"next: workbook detect RECORDING --method network --weights {weights}")


@app.command()
def detect(
    recording: Annotated[
        str, typer.Argument(help="An EDF, EDF+ or BDF file, or 'absence' for the cached recording (.h5).")
    ],
    method: Annotated[
        Method,
        typer.Option(help="'rule': power around 3 Hz. 'network': Bi-Mamba-2, untrained unless --weights is given."),
    ] = Method.rule,
    weights: Annotated[
        Path | None, typer.Option(help="Of the network: a file, or 'synthetic'.", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the results; made if needed.")] = Path("results"),
):
    """Detect seizures: writes scores (TSV, one a second), events (TSV, SzCORE columns) and a figure (PNG).

    Where the recording carries marked seizures, the scores against them are printed, the one-feature rule's beside any
    other method's.
    """
    if weights and method is not Method.network:
        _fail("--weights belongs to --method network; with --method rule there is nothing to load.", code=2)
    from helpers.detection import WeightsError, detect_by_network, detect_by_rule
    from helpers.eeg import DATASETS, RecordingError, load, read_recording, seizures

    try:
        if recording in DATASETS and not Path(recording).exists():
            raw, stem = load(recording), recording
        else:
            if not Path(recording).exists() and not Path(recording).suffix:
                known = ", ".join(DATASETS)
                _fail(f"{recording}: no such file and no known recording; check the path. Known by name: {known}.")
            raw, stem = read_recording(recording), Path(recording).stem
        rule = detect_by_rule(raw)
        detection = rule
        if method is Method.network:
            with _bar("Detecting", unit="windows") as progress:
                detection = detect_by_network(raw, weights, progress=progress)
    except (RecordingError, WeightsError) as fault:
        _fail(fault)
    marked = seizures(raw)
    try:
        output.mkdir(parents=True, exist_ok=True)
        files = detection.write(output, f"{stem}_{method.value}")
        files.append(_write_figure(raw, detection, marked, output / f"{stem}_{method.value}.png"))
    except OSError as fault:
        _fail(f"{output}: cannot write there ({fault.strerror or fault}). Choose another folder with --output.")
    _print_events(detection)
    if method is Method.network and weights is None:
        print("Untrained weights detect nothing, and no event is what to expect: this run shows that the path works.")
    if marked:
        chosen_here = Path(raw.filenames[0] or "").name == Path(DATASETS["absence"].member).name
        _print_scores(marked, [detection] if detection is rule else [detection, rule], chosen_here)
    for file in files:
        print(f"wrote {file}")


@app.command()
def evaluate(
    recordings: Annotated[Path, typer.Argument(help="Folder of recordings with marked seizures, or one recording.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Of the network: a file, or 'synthetic'. Without, the rule alone.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON object.")] = False,
):
    """Detect in many recordings and score against their marks: the network and the one-feature rule on the same ones.

    A bad recording is left out, and listed at the end.
    """
    import json
    from functools import partial

    from helpers.detection import WeightsError, detect_by_network, detect_by_rule
    from helpers.detection import evaluate as evaluate_all
    from helpers.eeg import RecordingError

    detectors = [partial(detect_by_network, weights=weights), detect_by_rule] if weights else [detect_by_rule]
    try:
        with _bar("Evaluating", unit="recordings") as progress:
            found, left_out = evaluate_all(
                [recordings] if recordings.is_file() else recordings, detectors, progress=progress
            )
    except (RecordingError, WeightsError) as fault:
        _fail(fault)
    if as_json:
        missing = {str(path): reason for path, reason in left_out.items()}
        print(json.dumps({"evaluations": [one.as_dict() for one in found], "left_out": missing}, indent=2))
        return
    _print_evaluations(found)
    for reason in left_out.values():
        print(f"left out  {' '.join(reason.split())}")


@app.command()
def score(
    reference: Annotated[Path, typer.Argument(help="A SzCORE TSV file of what is true, or a folder of such files.")],
    hypothesis: Annotated[Path, typer.Argument(help="What was detected: a file, or a folder with the same names.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON object.")] = False,
):
    """Score detected events against marked seizures by the SzCORE rules: counts by subject, mean over subjects.

    Exit code 1, and no score, where a file is missing, damaged or of another length than its partner.
    """
    import json

    from helpers.scoring import ScoringError, score_files

    try:
        with _bar("Scoring", unit="files") as progress:
            scores = score_files(reference, hypothesis, progress if reference.is_dir() else None)
    except ScoringError as fault:
        for line in fault.faults[:-1]:
            print(f"error: {' '.join(line.split())}", file=sys.stderr)
        _fail(fault.faults[-1])
    if as_json:
        print(json.dumps(scores.as_dict(), indent=2))
    else:
        _print_file_scores(scores)


@app.command()
def count(
    d_state: Annotated[
        int, typer.Option(min=1, help="State size of Mamba-2; the reference has 16, others 64 or 128.")
    ] = 16,
    mixing: Annotated[
        Mixing, typer.Option(help="How a layer joins its directions; 'concat' is the reference.")
    ] = Mixing.concat,
    backend: Annotated[
        Backend, typer.Option(help="'conv1d' is the stand-in, without Mamba; the others are one network.")
    ] = Backend.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON object.")] = False,
):
    """Parameters and operations of the detector, stage by stage, and where its published totals come from.

    Counted in a pass of one 60 s window through the very network, which takes no GPU and no weights.
    """
    import json
    import warnings
    from dataclasses import asdict

    import torch

    from helpers.models import SeizureDetector, StandInWarning, count_stages, published_totals

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StandInWarning)  # said below
        model = SeizureDetector(d_state=d_state, mixing=mixing.value, backend=backend.value)
    rows, published = count_stages(model), published_totals()
    total = {"parameters": sum(row.parameters for row in rows), "gflop": sum(row.gflop for row in rows)}
    if as_json:
        found = {"config": model.config, "stages": [asdict(row) for row in rows], "total": total}
        print(json.dumps({**found, "published": [asdict(row) for row in published]}, indent=2))
    else:
        _print_count(model.config, rows, total, published)


@app.command()
def execute(
    notebooks: Annotated[list[Path], typer.Argument(help="Chapters, as .ipynb files.")],
    lane: Annotated[Lane, typer.Option(help="Where this is: a machine with a GPU, or the CPU alone.")],
    commit: Annotated[str | None, typer.Option(help="Commit of the code, where there is no git.")] = None,
    home: Annotated[
        bool,
        typer.Option("--home", help="Show this lane's outputs on the page; without it, those of the first lane run."),
    ] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")] = 900,
):
    """Run chapters and store their outputs, measured numbers, and a stamp of what made them."""
    from helpers.teaching import NotebookError, stale
    from helpers.teaching import execute as execute_one

    for path in notebooks:
        try:
            with _bar(path.stem, unit="cells") as bar:
                stamp = execute_one(path, lane.value, commit, timeout, _naming_slow_cells(bar), home)
        except NotebookError as fault:
            _fail(fault)
        print(f"{path}: {stamp['seconds']} s on {stamp['device']}, commit {stamp['commit']}")
        for reason in stale(path).cells:
            print(f"  still: {reason}")


@app.command()
def fill(pages: Annotated[list[Path] | None, typer.Argument(help="Chapters or prose pages; all if left out.")] = None):
    """Write the measured numbers into the text of chapters and pages. Exit code 1 where one has no measurement."""
    from helpers.teaching import NotebookError, fill_numbers
    from helpers.teaching.results import wrong_numbers

    left = []
    for path in pages or _pages():
        try:
            print(f"{path}: {'filled' if fill_numbers(path) else 'unchanged'}")
        except NotebookError as fault:
            _fail(fault)
        text = path.with_suffix(".py") if path.suffix == ".ipynb" else path
        left += [f"{path}: {reason}" for reason in wrong_numbers(text.read_text(encoding="utf-8"), path)]
    if left:
        _fail("; ".join(left))


@app.command()
def stale(
    pages: Annotated[list[Path] | None, typer.Argument(help="Chapters or prose pages; all if left out.")] = None,
    release: Annotated[bool, typer.Option("--release", help="Fail also where only helpers changed.")] = False,
):
    """Which stored outputs and numbers are not those of the present code, and why. Exit code 1 where one is not."""
    from helpers.teaching import stale as stale_one

    found = [stale_one(path) for path in pages or _pages()]
    for state in found:
        reasons = [*state.cells, *state.modules]
        print(f"{state.path}: {'fresh' if not reasons else 'code changed since' if not state.cells else 'STALE'}")
        for reason in reasons:
            print(f"  {reason}")
    raise typer.Exit(any(state.cells or (release and state.modules) for state in found))


def _pages():
    """Every chapter and every prose page of the repository that this is called in."""
    pages = [*sorted(Path("notebooks").glob("*.ipynb")), *sorted(Path("book").glob("*.md"))]
    if not pages:
        _fail("no chapters here. Run it in the repository's root, or name them.", code=2)
    return pages


@bench.command()
def cpu(repeats: Annotated[int, typer.Option(min=1, help="Of each short measurement.")] = 15):
    """Start-up, one Mamba-2 layer beside its peers, a window and a whole recording, on this CPU; some minutes."""
    from helpers.benchmarks import measure_cpu, missing_peer

    with _bar("Recording", unit="windows") as progress:
        results = measure_cpu(repeats, progress)
    _print_measurements(results, missing_peer())


@bench.command("data")
def bench_data(
    recordings: Annotated[int, typer.Option(min=1, help="Recordings of noise to prepare.")] = 8,
    minutes: Annotated[int, typer.Option(min=2, help="Length of each.")] = 30,
):
    """Preparing recordings, reading random windows beside braindecode, memory and disk, on this CPU; some minutes."""
    from helpers.benchmarks.data import measure_data, missing_data_peer

    with _bar("Measuring", unit="steps") as progress:
        results = measure_data(recordings, minutes, progress=progress)
    _print_measurements(results, missing_data_peer())


def _print_measurements(results, missing):
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("measured")
    for column in ("median", "lowest", "highest", "unit", "times"):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            row.name,
            *(_figure(value, row.unit) for value in (row.value, row.low, row.high)),
            row.unit,
            str(row.repeats),
        )
    Console().print(table)
    if missing:
        print(missing)


def _figure(value, unit):
    return f"{value:.2f}" if unit in ("x", "ms/window") and value < 100 else f"{value:.1f}"


@bench.command()
def parity():
    """How far each backend of Mamba-2 is from float64; on a GPU some minutes, as its kernels are tuned first."""
    from helpers.benchmarks.parity import measure_parity, parity_table

    print(parity_table(measure_parity()))


def _write_figure(raw, detection, marked, path):
    import matplotlib

    matplotlib.use("Agg")
    from helpers.teaching import detection_figure

    part = path.with_name(path.name + ".part")
    try:
        detection_figure(raw, detection, marked).savefig(part, format="png")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _print_count(config, rows, total, published):
    from rich import box
    from rich.console import Console
    from rich.table import Table

    inside = "a Conv1d stand-in, NO Mamba-2" if config["backend"] == "conv1d" else f"d_state {config['d_state']}"
    title = f"The detector ({config['mixing']}, {inside}), one 60 s window"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    for column in ("output", "Hz", "parameters", "GFLOP"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        output, parameters = f"{row.shape[0]} x {row.shape[1]}", f"{row.parameters:,}"
        table.add_row(row.name, row.operation, output, f"{row.rate:g}", parameters, f"{row.gflop:.2f}")
    table.add_section()
    table.add_row("total", "", "", "", f"{total['parameters']:,}", f"{total['gflop']:.2f}")
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print("Two operations a multiplication with addition. Elementwise work is not counted.\n")
    console.print("Totals published for this network, and what has that many parameters:")
    for row in published:
        console.print(f"{row.parameters:>11,}  {row.counted}\n{'':11}  {row.meaning}")


def _print_events(detection):
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(detection.events)} events by {detection.method}", title_justify="left")
    for column in ("onset (s)", "end (s)", "duration (s)", "confidence"):
        table.add_column(column, justify="right")
    for event in detection.events:
        sure = "n/a" if event.confidence is None else f"{event.confidence:.2f}"
        table.add_row(f"{event.onset:.1f}", f"{event.end:.1f}", f"{event.duration:.1f}", sure)
    Console(markup=False, emoji=False).print(table if detection.events else f"No events by {detection.method}")


def _print_scores(marked, detections, chosen_here):
    from rich.console import Console
    from rich.table import Table

    scores = [detection.score(marked) for detection in detections]
    table = Table(title=f"Against the {len(marked)} marked seizures", title_justify="left")
    table.add_column("")
    for detection in detections:
        table.add_column(detection.method, justify="right")
    rows = {
        "AUROC over seconds": lambda score: f"{score.auroc:.4f}",
        "found, by overlap": lambda score: f"{score.overlap.found} of {score.overlap.reference}",
        "false alarms, by overlap": lambda score: f"{score.overlap.false_alarms}",
        "found, by SzCORE": lambda score: f"{score.szcore.found} of {score.szcore.reference}",
        "false alarms, by SzCORE": lambda score: f"{score.szcore.false_alarms}",
        "  scaled to 24 h": lambda score: f"{score.szcore.false_alarms_per_24h:.0f}",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(score) for score in scores))
    console = Console(markup=False, emoji=False)  # a file of weights may be named [bold].pt
    console.print(table)
    console.print("SzCORE counts events under 90 s apart as one.")
    recording = "this recording" if chosen_here else "the 'absence' recording"
    console.print(f"The rule's threshold was chosen on {recording}. One patient shows nothing about performance.")


def _print_evaluations(evaluations):
    import math

    from rich.console import Console
    from rich.table import Table

    one = evaluations[0]
    title = f"recordings: {one.recordings}, subjects: {one.subjects}, hours: {one.hours:.1f}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for each in evaluations:
        table.add_column(each.method, justify="right")

    rows = {
        "AUROC over seconds": lambda each: _ratio(each.auroc),
        "AUPRC": lambda each: _ratio(each.auprc),
        "  of a guess": lambda each: _ratio(each.ictal),
        "expected calibration error": lambda each: _ratio(math.nan if each.ece is None else each.ece),
        "found, each by itself": lambda each: f"{each.overlap.found} of {each.overlap.reference}",
        "  false alarms an hour": lambda each: f"{each.overlap.false_alarms_per_24h / 24:.2f}",
        "found, by SzCORE": lambda each: f"{each.event.found} of {each.event.reference}",
        "  false alarms in 24 h": lambda each: f"{each.event.false_alarms_per_24h:.1f}",
        "  F1 of events": lambda each: _ratio(each.event.f1),
        "  F1 of seconds": lambda each: _ratio(each.sample.f1),
    }
    for limit in one.operating_points:
        rows[f"best at {limit:g} in 24 h"] = lambda each, at=limit: _ratio(each.operating_points[at].sensitivity)
    for name, cell in rows.items():
        table.add_row(name, *(cell(each) for each in evaluations))
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print(
        "Best: highest sensitivity by SzCORE with at most so many false alarms, its threshold chosen on these very "
        "recordings; no estimate for others."
    )


def _print_file_scores(scores):
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)
    heads = ("subject", "hours", "found", "of", "false", "per 24 h", "sens.", "prec.", "F1")
    for title, kind in (("Seizures, by SzCORE", "event"), ("Seconds, by SzCORE", "sample")):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in heads:
            table.add_column(head, justify="left" if head == "subject" else "right", no_wrap=True)
        for subject in scores.subjects:
            one = getattr(subject, kind)
            counts = (f"{one.hours:.2f}", one.found, one.reference, one.false_alarms, f"{one.false_alarms_per_24h:.1f}")
            table.add_row(subject.subject, *map(str, counts), *map(_ratio, (one.sensitivity, one.precision, one.f1)))
        if len(scores.subjects) > 1:
            mean = {name: value.mean for name, value in getattr(scores, kind).items()}
            rate = f"{mean['false_alarms_per_24h']:.1f}"
            table.add_section()
            ratios = map(_ratio, (mean["sensitivity"], mean["precision"], mean["f1"]))
            table.add_row("mean", "", "", "", "", rate, *ratios)
        console.print(table)
    older = scores.event["f1_before_0_0_7"]
    console.print(
        f"F1 as timescoring defines it from version 0.0.7 on. By the older definition the F1 of seizures is "
        f"{_ratio(older.mean)} (subjects that have one: {older.subjects} of {len(scores.subjects)})."
    )


def _ratio(value):
    return "-" if value != value else f"{value:.3f}"


def _naming_slow_cells(progress):
    """`progress`, which prints each cell that takes long: who has to stop a chapter learns where it was."""
    last = time.monotonic()

    def name_and_go_on(done, total):
        nonlocal last
        now = time.monotonic()
        if now - last >= _SLOW_CELL:
            print(f"cell {done}: {now - last:.0f} s", flush=True)
        last = now
        progress(done, total)

    return name_and_go_on


def _saying_where(progress):
    """`progress`, which first says at which step a resumed training goes on."""
    begun = False

    def say_and_go_on(done, total):
        nonlocal begun
        if not begun and done > 1:
            print(f"going on with step {done} of {total}", flush=True)
        begun = True
        progress(done, total)

    return say_and_go_on


def _print_validation(figures):
    rates = ", ".join(f"{figures[f'sensitivity_at_{limit}']:.2f} at {limit}" for limit in ("10", "5", "2.5", "1"))
    print(
        f"step {figures['step']}: loss {figures['training_loss']:.4f}, in validation {figures['loss']:.4f}, "
        f"AUROC {figures['auroc']:.4f}, sensitivity {rates} false alarms a day",
        flush=True,
    )


class _bar:
    """A progress bar on standard error, as ``progress(done, total)``; it appears with the first call."""

    def __init__(self, label, unit):
        self.label, self.unit, self.bar, self.task = label, unit, None, None

    def __enter__(self):
        return self.update

    def update(self, done, total):
        from rich import progress
        from rich.console import Console

        if self.bar is None:
            amount = progress.DownloadColumn() if self.unit == "bytes" else progress.MofNCompleteColumn()
            columns = [progress.TextColumn("{task.description}"), progress.BarColumn(), amount]
            self.bar = progress.Progress(*columns, progress.TimeRemainingColumn(), console=Console(stderr=True))
            self.bar.start()
            self.task = self.bar.add_task(self.label, total=total)
        self.bar.update(self.task, completed=done, total=total)

    def __exit__(self, *fault):
        if self.bar is not None:
            self.bar.stop()


def _fail(fault, code=1):
    print(f"error: {' '.join(str(fault).split())}", file=sys.stderr)
    raise typer.Exit(code)


def main():
    """Entry point of the `workbook` command."""
    app()


if __name__ == "__main__":
    main()
