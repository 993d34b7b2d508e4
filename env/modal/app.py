"""The workbook on Modal: images, recordings from S3, training past 24 hours, evaluation, and chapters on a GPU.

    modal run env/modal/app.py --action test-mamba
    modal run env/modal/app.py --action prepare --synthetic 8
    modal run --detach env/modal/app.py --action train --config smoke --gpu L4
    modal run env/modal/app.py --action cost --config full

The same commands behind ``python -m helpers.cloud --`` run against a model of Modal on this machine, free of charge.
Chapters 03 and 13 explain each part. What is in the repository's ``env/local/`` says which versions are installed.
"""

import argparse
import atexit
import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Literal

import modal

from helpers.cloud import TimeoutRuleError, checked_timeout

PYTHON = "3.11"  # the wheels of every recipe are for it, and the field notes' torch has none for later ones
RESULTS, DATA = Path("/results"), Path("/data")  # in the container
STORE, RUNS, DRAWN = RESULTS / "store", RESULTS / "runs", RESULTS / "recordings"
KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]


def options():
    """The options that the decorators below need; Modal gives them to `main` too, but only after this file has run.

    In a container there is no command line. A bucket has to be declared there as well, or Modal stops with "Function
    has 2 dependencies but container got 3 object ids". So the image says which one it is.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe", default="C", choices=["C", "A", "B", "notes"])
    parser.add_argument("--gpu", default="H100")
    parser.add_argument("--timeout", type=int, default=86_400)
    parser.add_argument("--bucket", default="")
    parser.add_argument("--action", default="")
    parser.add_argument("--config", default="smoke")
    parser.add_argument("--chapter", default="")
    given = sys.argv[1:] if modal.is_local() else [f"--bucket={os.environ.get('WORKBOOK_BUCKET', '')}"]
    return parser.parse_known_args(given)[0]


ASKED = options()
try:
    checked_timeout(ASKED.timeout)  # here, since Modal itself refuses only after it has built the image
except TimeoutRuleError as fault:
    raise SystemExit(f"error: {fault}") from None
if "://" in ASKED.bucket:
    raise SystemExit(f"error: --bucket is {ASKED.bucket}, expected NAME or NAME/PREFIX.")
GPU = None if ASKED.gpu == "none" else ASKED.gpu


def cost(config):
    """What a training would cost on the GPU that was asked for."""
    from helpers.cloud import cost_table

    try:
        from helpers.training import load_config

        wanted = load_config(config)
    except ModuleNotFoundError as fault:
        raise SystemExit(
            f'error: a configuration is read with {fault.name}. Install it: pip install -e ".[workbook]"'
        ) from None
    except ValueError as fault:
        raise SystemExit(f"error: {fault}") from None
    return cost_table(ASKED.gpu, wanted.epochs, wanted.windows_per_epoch, wanted.patience)


def text_of(config):
    """The text of a configuration's file, or none for one of the package, which is in the container."""
    shipped = Path(__file__).parents[2] / "src" / "helpers" / "training" / "configs"
    if not Path(config).is_file() and (shipped / f"{config}.yaml").is_file():
        return ""
    try:
        return Path(config).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        names = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
        raise SystemExit(
            f"error: {config}: cannot be read ({fault}). Name a YAML file, or one of the package's: {names}."
        ) from None


def chapter_file(chapter):
    """The notebook of a chapter, by its number."""
    found = sorted((Path(__file__).parents[2] / "notebooks").glob(f"{chapter}_*.ipynb")) if chapter else []
    if len(found) != 1:
        raise SystemExit(f"error: no chapter {chapter or 'was named'}. Name one by its number, --chapter 05.")
    return found[0]


# Here, too, and not in `main` alone: before that runs, Modal builds the image. In a container no action is named.
if ASKED.action == "cost":
    print(cost(ASKED.config))
    raise SystemExit
if ASKED.action == "train":
    text_of(ASKED.config)
if ASKED.action == "notebook":
    chapter_file(ASKED.chapter)


# Images. The order is that of how often a layer changes: a changed layer is built again, and all that follow it.


def pins(stack):
    """What a requirements file of ``env/local`` pins, as ``name==version`` by name."""
    text = (Path(__file__).parents[2] / "env" / "local" / f"{stack}.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==([\w.+-]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): f"{name}=={version}" for name, version in found}


def kernels(stack):
    """The wheels of causal-conv1d and mamba-ssm that match a stack's torch, by their whole addresses."""
    text = (Path(__file__).parents[2] / "env" / "local" / f"{stack}-kernels.txt").read_text(encoding="utf-8")
    return re.findall(rf'@ (\S+) ; python_version == "{PYTHON}"', text)


def workbook_packages():
    """What this package and its chapters need besides torch, at the versions that the tests ran with."""
    import tomllib
    from packaging.requirements import Requirement

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["workbook"]])
    pinned = pins("constraints")
    wanted = (
        need.name.lower() for need in needs if not need.marker or need.marker.evaluate({"python_version": PYTHON})
    )
    return [pinned[name] for name in wanted if name not in ("torch", "pip")]


def torch_and_workbook(image):
    """Torch, then what this package needs; what those need in turn has the versions of the tests, too."""
    here, there = Path(__file__).parents[2] / "env" / "local" / "constraints.txt", "/constraints.txt"
    constrained = f"--constraint {there}"
    return (
        image.add_local_file(here, there, copy=True)
        .pip_install(pins("current")["torch"], extra_options=constrained)
        .pip_install(*workbook_packages(), extra_options=constrained)
    )


def recipe_c():
    """Torch and this package. The layers compute in plain torch."""
    return torch_and_workbook(modal.Image.debian_slim(python_version=PYTHON))


def recipe_a():
    """C, and the official kernels as ready wheels for this very torch."""
    found = pins("current")
    return (
        torch_and_workbook(modal.Image.debian_slim(python_version=PYTHON))
        .pip_install(*(found[name] for name in ("transformers", "einops", "ninja")))
        .pip_install(*kernels("current"), extra_options="--no-deps")  # or pip might take another torch
    )


def recipe_b():
    """C, and the official kernels compiled in the image, for a torch that has no wheels; an hour of a CPU."""
    found = pins("current")
    tags = [
        re.search(r"github\.com/([\w-]+/[\w-]+)/releases/download/([\w.]+)/", url).groups()
        for url in kernels("current")
    ]
    return (
        torch_and_workbook(
            modal.Image.from_registry("nvidia/cuda:12.8.1-devel-ubuntu22.04", add_python=PYTHON)
            .entrypoint([])
            .apt_install("build-essential", "git")
            # The added Python was built by clang and asks for it (astral-sh/uv#8036); four jobs fit into memory.
            .env({"CC": "gcc", "CXX": "g++", "MAX_JOBS": "4", "CUDA_HOME": "/usr/local/cuda"})
        )
        .pip_install(*(found[name] for name in ("transformers", "einops", "ninja")), "setuptools>=61", "wheel")
        .run_commands(
            *(
                f"{package}_FORCE_BUILD=TRUE python -m pip install --no-build-isolation --no-deps "
                f"git+https://github.com/{repository}@{tag}"
                for package, (repository, tag) in zip(("CAUSAL_CONV1D", "MAMBA"), tags, strict=True)
            )
        )
    )


def recipe_notes():
    """The field notes' own versions, for test-mamba: today's MNE needs NumPy 2, and this torch NumPy 1."""
    found = pins("field-notes")
    return (
        modal.Image.debian_slim(python_version=PYTHON)
        .pip_install(*(found[name] for name in ("torch", "torchvision", "numpy")))
        .pip_install(*(found[name] for name in ("transformers", "einops", "ninja")), "packaging")
        .pip_install(*kernels("field-notes"), extra_options="--no-deps")
    )


RECIPES = {"C": recipe_c, "A": recipe_a, "B": recipe_b, "notes": recipe_notes}
SMOKE = {
    False: "import torch; x = torch.ones(64, 64, device='cuda'); assert (x @ x).sum() == 64**3",
    True: "import torch; from mamba_ssm import Mamba; x = torch.randn(1, 100, 512, device='cuda'); "
    "Mamba(512).cuda()(x).sum().backward()",
}


def image(recipe):
    """The image of a recipe, tried on a GPU once while it is built; the package comes last, as it changes most."""
    built = RECIPES[recipe]()
    if GPU:
        built = built.run_commands(f'python -c "{SMOKE[recipe != "C"]}"', gpu=GPU.partition(":")[0])
    variables = {
        "WORKBOOK_CACHE": str(RESULTS / "cache"),
        "TRITON_CACHE_DIR": str(RESULTS / "cache" / "triton"),
        "TRITON_CACHE_AUTOTUNING": "1",  # keeps what was tuned, but for kernels with a pre-hook
    }
    if ASKED.bucket:
        variables["WORKBOOK_BUCKET"] = ASKED.bucket  # for `options`
    return with_package(built.env(variables))


def with_package(built):
    """Mount this package: all its files (the default is ``.py`` alone), its weights, and what says its version."""
    root = Path(__file__).parents[2]
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "(.+)"', project, re.MULTILINE)[1] for key in ("name", "version"))
    folder = Path(tempfile.mkdtemp(prefix="workbook-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    described = f"/root/{name.replace('-', '_')}-{version}.dist-info/METADATA"
    return (
        built.add_local_python_source("helpers", ignore=["**/__pycache__/**", "**/weights/**"])
        .add_local_file(root / "weights" / "synthetic.pt", "/root/helpers/detection/weights/synthetic.pt")
        .add_local_file(folder / "METADATA", described)
    )


# The app: one image for all Functions of a run. In the container the recipe plays no part.

app = modal.App("bimamba-eeg-workbook", image=image(ASKED.recipe) if modal.is_local() else None)
results = modal.Volume.from_name("workbook-results", create_if_missing=True)
volumes = {str(RESULTS): results}
recordings = dict(volumes)
if ASKED.bucket:
    bucket, _, prefix = ASKED.bucket.partition("/")
    recordings[str(DATA)] = modal.CloudBucketMount(
        bucket,
        key_prefix=f"{prefix.rstrip('/')}/" if prefix else None,
        secret=modal.Secret.from_name("aws-s3-secret", required_keys=KEYS),  # for the mount alone, not for our process
        read_only=True,
    )


def keep_results():
    """Commit the Volume. Modal reloads it then, which files that are still open refuse; by then the commit is made."""
    try:
        results.commit()
    except RuntimeError as fault:
        if "open files" not in str(fault):
            raise


def folder_of_recordings():
    """The bucket where one is mounted, else what was drawn into the Volume."""
    from helpers.eeg import RecordingError

    if not ASKED.bucket and not DRAWN.is_dir():
        raise RecordingError(
            "no recordings. Name a bucket of them by --bucket, or have some drawn: prepare --synthetic 8."
        )
    return DATA if ASKED.bucket else DRAWN


def in_words(function):
    """Give back an answer and no fault, or None and a fault of this package in words.

    An exception would come with the container's traceback, and `modal` needs what it is made of to load it: on your
    machine there may be neither torch nor MNE. For the same reason answers are made of plain values.
    """

    @functools.wraps(function)
    def answered(*arguments, **options):
        try:
            return function(*arguments, **options), ""
        except Exception as fault:
            if not type(fault).__module__.startswith("helpers."):
                raise
            return None, str(fault)

    return answered


@app.function(gpu=GPU, timeout=3600, volumes=volumes)
def test_mamba():
    """Both Mamba layers on [1, 100, 512], forward and backward, against this package's in float64."""
    import importlib
    from importlib.resources import files

    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    installed = importlib.util.find_spec("mamba_ssm")
    official = importlib.import_module("mamba_ssm") if installed and device.type == "cuda" else None
    found = {
        "torch": str(torch.__version__),  # of a class of torch
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "mamba_ssm": official.__version__
        if official
        else f"{'needs a GPU' if installed else 'not installed'}: our layers",
        "data files": sum(not file.name.endswith(".py") for file in walk(files("helpers"))),
        "off": {},
    }
    # Our layers need torch 2.4. On the field notes' one, mamba_ssm's are run, and compared with nothing.
    ours = (
        importlib.import_module("helpers.models")
        if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 4)
        else None
    )

    def answers(layer, given):
        given = given.clone().requires_grad_()
        y = layer(given)
        y.square().sum().backward()
        return y.detach().double(), given.grad.double()

    for name in ("Mamba", "Mamba2"):
        torch.manual_seed(0)
        tried = (getattr(official, name)(512) if official else getattr(ours, name)(512, backend="torch")).to(device)
        u = torch.randn(1, 100, 512, device=device)
        found["finite"] = found.get("finite", True) and all(
            answer.isfinite().all().item() for answer in answers(tried, u)
        )
        if ours:
            reference = getattr(ours, name)(512, backend="torch").to(device).double()
            reference.load_state_dict({key: tensor.double() for key, tensor in tried.state_dict().items()})
            pairs = zip(answers(tried, u), answers(reference, u.double()), strict=True)
            found["off"][name] = [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]
    keep_results()  # what Triton compiled and tuned
    return found


def walk(folder):
    """All files of a package, its own caches apart."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from walk(entry)
        elif entry.is_file():
            yield entry


@app.function(cpu=2.0, timeout=3600, volumes=recordings)
@in_words
def list_recordings(synthetic, minutes):
    """Names of the recordings, and of what else is in the store; draws synthetic ones first where asked for."""
    from helpers.eeg import RecordingError, find_recordings

    if synthetic:
        from helpers.eeg.synthetic import write_recordings

        try:
            write_recordings(DRAWN, synthetic, minutes)
        except ValueError as fault:
            raise RecordingError(str(fault)) from None
        keep_results()
    folder, there = folder_of_recordings(), STORE / "recordings"
    names = [path.relative_to(folder).as_posix() for path in find_recordings(folder)]
    others = {path.relative_to(there).as_posix().removesuffix(".json") for path in there.rglob("*.json")} - set(names)
    return names, sorted(others)


@app.function(cpu=2.0, timeout=4 * 3600, volumes=recordings, max_containers=50)
@in_words
def prepare_recording(name, resume):
    """Prepare one recording in a store of its own and move it into the one on the Volume."""
    from helpers.eeg import RecordingError, prepare

    source = folder_of_recordings() / name
    with tempfile.TemporaryDirectory() as folder:
        alone, store = Path(folder, folder_of_recordings().name), Path(folder, "prepared")
        home = alone / Path(name).parent
        home.mkdir(parents=True)
        for path in source.parent.iterdir():  # its marks may lie beside it, in a file of another name
            if path.name == source.name or path.suffix.lower() not in (".edf", ".bdf", ".h5"):
                (home / path.name).symlink_to(path)
        before = files_of(name, STORE)
        for path in before if resume else []:
            copied = store / path.relative_to(STORE)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
        report = prepare(alone, store, workers=1)
        after = files_of(name, store)
        for path in after if report.prepared else []:
            target = STORE / path.relative_to(store)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
            shutil.copyfile(path, part)
            part.replace(target)
        gone = {path.name for path in before} - {path.name for path in after} if resume or report.prepared else set()
        for path in reversed(before):
            if path.name in gone:  # of an older file by this name, or of one that can no longer be used
                path.unlink()
        if report.prepared or gone:
            keep_results()
    if report.left_out:
        raise RecordingError(" ".join(report.left_out.values()))
    return {"kept": bool(report.kept), "hours": report.hours}


def files_of(name, store):
    """What a store has of a recording, the array first: a description must never name one that is not there."""
    place = store / "recordings" / name
    ours = re.compile(rf"{re.escape(place.name)}\.([0-9a-f]{{12}}\.npy|json)")
    return sorted(
        (path for path in place.parent.glob("*") if ours.fullmatch(path.name)), key=lambda path: path.suffix == ".json"
    )


# Past 24 hours: an attempt ends at its timeout and the next one goes on from the last checkpoint, up to eleven in all.


@app.function(
    gpu=GPU,
    cpu=8.0,
    memory=32 * 1024,  # MiB
    timeout=ASKED.timeout,
    retries=modal.Retries(initial_delay=0.0, max_retries=10),
    single_use_containers=True,  # a new process and a new GPU for each attempt
    volumes=volumes,
)
def train(run, config, text, resume, call):
    """Train in a process of its own, which Lightning can start again for each GPU; its error, or nothing.

    The training replaces ``last.ckpt`` by renaming; each new one is committed to the Volume, and so outlives us.
    """
    if not STORE.is_dir():
        return "error: nothing is prepared. Begin with --action prepare."
    out = RUNS / run
    begun, saved = out / "call", out / "last.ckpt"
    again = begun.exists() and call in begun.read_text().splitlines()  # this very call was here before: it is a retry
    if saved.exists() and not resume and not again:
        return f"error: {out} holds a training. Go on with --resume, or choose another name with --run."
    out.mkdir(parents=True, exist_ok=True)
    with begun.open("a") as file:
        file.write(f"{call}\n")
    here = tempfile.mkdtemp()
    if text:  # not into the run's folder, which may hold a training with another one; the checkpoint keeps what it is
        config = Path(config).name
        Path(here, config).write_text(text)
    command = [sys.executable, "-u", "-m", "helpers.cli", "train", config, "--store", str(STORE), "--output", str(out)]
    process = subprocess.Popen(
        [*command, "--resume"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    said = []
    reader = threading.Thread(target=relay, args=(process.stdout, said), daemon=True)
    reader.start()
    stamp = None
    try:
        while process.poll() is None:
            time.sleep(0.05)
            if saved.exists() and (now := saved.stat().st_mtime_ns) != stamp:
                stamp = now
                keep_results()
    finally:
        if process.poll() is None:  # we are being stopped: it saves the step that it is at
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(25)
        keep_results()
    reader.join(10)  # a process of another GPU may outlive it, and hold the pipe
    if process.returncode == 0:
        return ""
    last = said[-1].strip() if said else "it said nothing"
    if process.returncode == 1 and last.startswith("error: "):  # another attempt would meet this again, and pay for it
        return last
    raise RuntimeError(f"the training was ended ({process.returncode}: {last}); the next attempt goes on from {saved}")


def relay(stream, said):
    """Pass on what a process says, line by line, and keep it; but for its advice, whose paths are the container's."""
    for line in stream:
        if not line.startswith("next: workbook "):
            print(line, end="", flush=True)
        said.append(line)


@app.function(gpu=GPU, cpu=8.0, timeout=4 * 3600, volumes=recordings)
@in_words
def evaluate_run(run):
    """Score a run's detector and the one-feature rule on the subjects that the run never saw; all for 'synthetic'."""
    from functools import partial

    import torch

    from helpers.detection import WeightsError, detect_by_network, detect_by_rule
    from helpers.detection import evaluate as evaluate_all
    from helpers.eeg import find_recordings, subject_of

    weights, files = run, find_recordings(folder_of_recordings())
    if run != "synthetic":
        weights = RUNS / run / "detector.pt"
        if not weights.is_file():
            raise WeightsError(f"{weights}: no such file. Train this run first, or name another one by --run.")
        unseen = torch.load(weights, weights_only=True)["training"]["splits"].get("test", ())
        files = [path for path in files if subject_of(path) in unseen]
    found, left_out = evaluate_all(files, [partial(detect_by_network, weights=weights), detect_by_rule])
    out = RUNS / run / "evaluation.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([one.as_dict() for one in found], indent=1)
    out.write_text(text)
    keep_results()
    return json.loads(text), {path.name: reason for path, reason in left_out.items()}


@app.function(gpu=GPU, cpu=8.0, timeout=2 * 3600, volumes=volumes)
@in_words
def execute_chapter(name, files, commit, lane):
    """Run a chapter in a lane and give back its files, with outputs and stamp."""
    from helpers.teaching import execute

    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        stamp = execute(Path(folder, name), lane, commit)
        keep_results()  # what Triton compiled, and recordings that were fetched
        return stamp, {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


# What runs on your own machine.

Action = Literal["test-mamba", "prepare", "train", "evaluate", "notebook", "cost"]


@app.local_entrypoint()
def main(
    action: Action,
    config: str = "smoke",
    run: str = "",
    resume: bool = True,
    chapter: str = "",
    synthetic: int = 0,
    minutes: float = 30.0,
    recipe: Literal["C", "A", "B", "notes"] = "C",
    gpu: str = "H100",
    timeout: int = 86_400,
    bucket: str = "",
):
    """The workbook on Modal."""
    if (recipe, gpu, timeout, bucket) != (ASKED.recipe, ASKED.gpu, ASKED.timeout, ASKED.bucket):
        raise SystemExit("error: options that the image and the Functions depend on must stand on the command line.")
    if recipe == "notes" and action != "test-mamba":
        raise SystemExit("error: the field notes' versions run test-mamba only; take --recipe C, A or B.")
    run = run or Path(config).stem
    if action == "test-mamba":
        show_layers(test_mamba.remote())
    elif action == "prepare":
        prepare(synthetic, minutes, resume)
    elif action == "train":
        text = text_of(config)
        call = train.spawn(run, config, text, resume, secrets.token_hex(8))  # .remote() calls expire after 24 hours
        print(f"training {run} as {call.object_id}; its files: modal volume ls workbook-results runs/{run}")
        try:
            fault = call.get()
        except KeyboardInterrupt:
            print("stopped by Ctrl-C: the same command goes on from the last checkpoint", file=sys.stderr)
            raise
        if fault:
            raise SystemExit(fault.replace("--output", "--run"))  # which names the folder here
        print(f"trained: modal run env/modal/app.py --action evaluate --run {run}")
    elif action == "evaluate":
        show_scores(*answer(evaluate_run.remote(run)))
    elif action == "notebook":
        notebook(chapter)


def answer(found):
    """What a Function `in_words` gave back; its fault ends the program."""
    found, fault = found
    if fault:
        raise SystemExit(f"error: {fault}")
    return found


def show_layers(found):
    """Print what test-mamba found; exit code 1 where a layer is off."""
    print(f"torch {found['torch']} on {found['device']}, mamba_ssm {found['mamba_ssm']}")
    if GPU and found["device"] == "cpu":
        print(
            f"NO GPU: {GPU} was asked for, and torch sees none. (So it is on the model of Modal, on a machine without.)"
        )
    print(f"the package has its {found['data files']} data files")
    for name, (output, gradient) in found["off"].items():
        print(f"{name}: off float64 by {output:.1e} (output) and {gradient:.1e} (gradient)")
    if not found["off"]:
        print("both layers ran, forward and backward; this torch is too old for the layers that they are compared with")
    if not found["finite"] or not all(error < 1e-2 for errors in found["off"].values() for error in errors):
        raise SystemExit("error: a layer is off by more than 1e-2 of its largest value, or not finite.")  # TF32: 1e-3


def prepare(synthetic, minutes, resume):
    """Prepare all recordings, each in a container of its own, and print what was left out."""
    if synthetic and ASKED.bucket:
        raise SystemExit("error: --synthetic and --bucket. Choose one: a store of both would be trained on as a whole.")
    names, others = answer(list_recordings.remote(synthetic, minutes))
    if synthetic:
        print(f"synthetic EEG of {synthetic} subjects: no patient was recorded")
    done, left_out = [], {}
    outcomes = prepare_recording.map(names, kwargs={"resume": resume}, return_exceptions=True)
    for name, outcome in zip(names, outcomes, strict=True):
        found, fault = (None, outcome) if isinstance(outcome, Exception) else outcome
        if found:
            done.append(found)
        else:
            left_out[name] = fault
    kept = sum(found["kept"] for found in done)
    hours = sum(found["hours"] for found in done)
    print(f"{len(done) - kept} recordings prepared, {kept} already there, {len(left_out)} left out; {hours:.1f} h")
    for name, fault in left_out.items():
        print(f"  left out  {name}: {fault}")
    if others:
        print(f"The store also holds {len(others)} other recordings ({others[0]}); a training takes them, too.")
        print("To begin anew: modal volume rm -r workbook-results store")
    if not done:
        raise SystemExit("error: no recording could be prepared.")


def show_scores(evaluations, left_out):
    """Print the figures by which detectors are compared."""
    for one in evaluations:
        event = one["event"]
        print(
            f"{one['method']}: AUROC {one['auroc']:.3f}, {event['found']} of {event['reference']} seizures found, "
            f"{event['false_alarms_per_24h']:.1f} false alarms in 24 h, on {one['recordings']} recordings"
        )
    for reason in left_out.values():
        print(f"  left out  {reason}")


def notebook(chapter):
    """Execute a chapter, by its number, and bring its files back."""
    path = chapter_file(chapter)
    folder = path.parent
    files = {file.name: file.read_bytes() for file in folder.glob(f"{path.stem}.*")}
    lane = "gpu" if GPU else "cpu"
    stamp, changed = answer(execute_chapter.remote(path.name, files, commit(), lane))
    for name, content in changed.items():
        part = folder / f".{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)
    print(f"{path.name}: {stamp['seconds']} s on {stamp['device']}, commit {stamp['commit']}")


def commit():
    """The commit of this tree, with + where it has changes, for the chapter's stamp."""

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True
        ).stdout.strip()

    return f"{git('rev-parse', '--short=12', 'HEAD') or 'unknown'}{'+' if git('status', '--porcelain') else ''}"
