# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training on Modal
#
# A rented GPU is charged by the second, and at Modal one *attempt*, a call of a Function until it ends or is killed, lasts 24 hours
# at most. So there are two questions
# before a long training, and you can answer both on your own machine: what will it cost, and what is left of it when it is
# killed? *Field note A* (working notes of engineers, [checked claim by claim](../book/field_notes.md)) expects 25 hours and
# \$140 for a training of this detector, under a limit of 24. Here you work out both.
#
# **You will**
#
# - turn a measured speed and a dated price into minutes and dollars, and see what such an estimate leaves out;
# - have a timeout refused before anything is sent;
# - send a smoke run, and read in what was sent who keeps it alive when your computer sleeps;
# - run a training of 60 hours under a limit of 24, in scaled time: killed twice, and the same losses;
# - share a batch between two processes, and find what they do not share by themselves.
#
# **You need** [chapter 03](03_modal_image.ipynb), for the words (image, Function, Volume) and the model of Modal, and
# [chapter 11](11_training.ipynb), for the trainer and its checkpoints. No account, and no GPU.

# %% tags=["remove-cell"]
import importlib.util

# On Colab this installs the workbook. Where it is installed already, nothing happens.
if importlib.util.find_spec("helpers") is None:
    from IPython import get_ipython

    repository = (
        "git+https://github.com/clarity-digital-twin/bimamba-eeg-workbook"
    )
    get_ipython().run_line_magic(
        "pip",
        f'install --quiet "bimamba-eeg-workbook[workbook] @ {repository}@v0.1.0"',
    )

# %% tags=["setup"]
import sys

import matplotlib.pyplot as plt
import numpy as np
import torch

from helpers.environment import Lab, LabError, expect_error
from helpers.teaching import COLORS, explore, needs, record, style

SEED = 13
lab = Lab()  # a throwaway folder, shown as <lab>

# %% [markdown]
# <a id="lab-cost"></a>
#
# ## The cost, before you press enter
#
# Two numbers make most of it: how many windows a GPU takes in a second, and what that second costs. The first was measured in
# [chapter 08](08_detector.ipynb), with the reference detector of 32,606,439 parameters. The second comes from a table with a date.

# %%
from helpers.cloud import price, throughput

speed, rate = throughput("H100"), price("H100")
print(f"{speed.training:g} windows/s in training, {speed.source}, {speed.date}")
print(f"{speed.inference:g} windows/s in validation")
print(f"${rate.dollars_per_second} a second, {rate.date}: {rate.source}")

# %% [markdown]
# An epoch of the `full` configuration is one balanced set of windows; we count with 50,000. **Guess**, before you run the
# cell: how long do 100 epochs take on an H100, and what do they cost? The note says 25 hours and \$140, on an A100.
# <!-- given: quoted from the note -->

# %%
WINDOWS = 50_000
START = 180  # s: imports, and kernels that are compiled and tuned; a guess
VALIDATION = 0.3  # windows validated for each one trained on; a guess


def seconds(epochs, training, inference, windows=WINDOWS):
    epoch = windows / training + VALIDATION * windows / inference
    return START + epochs * epoch


# %%
core = price("CPU").dollars_per_second
for epochs in (1, 6, 50, 70, 100):
    time = seconds(epochs, speed.training, speed.inference)
    dollars = time * (rate.dollars_per_second + 8 * core)  # 8 cores beside it
    print(f"{epochs:4d} epochs  {time / 3600:5.2f} h  ${dollars:6.2f}")
record(full_hours=time / 3600, hour_times=25 * 3600 / time)
record(full_dollars=dollars, times=140 / dollars)

# %% [markdown]
# 100 epochs come to <span data-result="full_hours:.1f">3.4</span> hours and <span data-result="full_dollars:.0f">15</span> dollars. The
# note's hours are <span data-result="hour_times:.0f">7</span> times ours, its dollars <span data-result="times:.0f">9</span> times. Is the note wrong? Nobody
# can tell: no log was kept, and it does not say what it paid for in an hour. But look at what ours leaves out.
#
# - **Reading.** Windows lay ready in the GPU's memory. If reading is slower than computing, reading sets the pace.
# - **Small batches.** It is the speed with 64 windows in a batch; with the 16 of [chapter 11](11_training.ipynb) a GPU is never full.
# - **Plain torch.** It is the speed of mamba_ssm's kernels, which are in the image of `--recipe A`. The default, recipe C, is slower.
# - **What else is charged.** Memory and storage; and, [says a competitor](https://www.beam.cloud/blog/modal-pricing-explained) who read Modal's pages in June 2026, 1.5 to 1.75 times the price for a chosen region, and 3 times
#   for a machine that is never taken away. <!-- given: quoted from there -->
#
# So this is the least that it can cost. How far from it you are, the first epoch of the full training tells: compare its minutes
# with the table. (The smoke run cannot. Its detector is far smaller, and so are its batches.)
#
# The rows of 6, 50 and 70 epochs are for the *early stop*. The trainer ends after `patience` epochs without a better validation, so
# never before epoch 6 with a patience of 5; the note hopes for 50 to 70. Plan for all epochs, and be glad of fewer.
#
# The app prints the same table, and the note's figures beside it, without asking anybody:
# `modal run env/modal/app.py --action cost --config full`. For the `smoke` configuration it says:

# %%
from helpers.cloud import cost_table, estimate

print(cost_table("H100", epochs=5, windows_per_epoch=640, patience=5))
smoke = estimate("H100", 5, 640)
record(smoke_minutes=smoke.seconds / 60, smoke_dollars=smoke.dollars)
assert abs(estimate("H100", 100, WINDOWS).seconds - time) < 1

# %% [markdown]
# By this table a smoke run costs <span data-result="smoke_dollars:.2f">0.23</span> dollars, counted with the reference detector's speed; its own is far
# smaller. If our guess of `START` is right, nearly all of the <span data-result="smoke_minutes:.0f">3</span> minutes go by before the first step. It answers whether everything
# works, at a fraction of what one wrong path in a long run costs. (With 5 epochs and a patience of 5, there is nothing to stop early.)
# <!-- given: of the smoke configuration -->
#
# ### Which GPU?
#
# An A100 is cheaper by the hour. **Guess:** how slow may it be until the H100 is the cheaper one? The diamond is the measured speed of the
# H100; nobody measured the A100. Follow the thin line from the diamond to the curve of the A100.


# %%
def bill(gpu, epochs, training):
    """Hours and dollars, if validation is faster by as much as on the H100."""
    inference = training * speed.inference / speed.training
    hours = seconds(epochs, training, inference) / 3600
    a_second = price(gpu).dollars_per_second + 8 * core
    return hours, hours * 3600 * a_second


def speed_of(target, gpu, epochs, which):
    """Windows a second at which the hours (0) or dollars (1) are `target`."""
    speeds = np.linspace(20, 600, 2000)
    values = bill(gpu, epochs, speeds)[which]
    return np.interp(-target, -values, speeds)  # they fall, interp wants rising


# %% tags=["hide-input"]
def draw(epochs):
    windows_a_second = np.linspace(40, 600, 200)
    with style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(8.4, 3.4), layout="constrained"
        )
        hours, _ = bill("H100", epochs, windows_a_second)
        left.plot(windows_a_second, hours, color=COLORS["ink"])
        if hours.max() > 24:
            left.axhline(24, color=COLORS["marked"], linestyle="--")
            left.text(600, 24.5, "one attempt: 24 h", ha="right")
        left.set(title=f"{epochs} epochs: time", ylabel="hours")
        for gpu, color in (("H100", "accent"), ("A100-80GB", "quiet")):
            _, dollars = bill(gpu, epochs, windows_a_second)
            line = {"color": COLORS[color], "label": gpu}
            right.plot(windows_a_second, dollars, **line)
        here = bill("H100", epochs, speed.training)
        even = speed_of(here[1], "A100-80GB", epochs, 1)
        right.hlines(here[1], even, speed.training, COLORS["ink"], lw=1)
        right.vlines(even, 0, here[1], COLORS["ink"], linestyle=":", lw=1)
        right.set(title=f"{epochs} epochs: cost", ylabel="US dollars")
        right.legend()
        for axes, value in zip((left, right), here, strict=True):
            axes.set(xlabel="windows a second in training", ylim=(0, None))
            axes.plot(speed.training, value, "D", color=COLORS["marked"])
    return figure


# %% tags=["hide-input"]
def describe(epochs):
    hours, dollars = bill("H100", epochs, speed.training)
    even = speed_of(dollars, "A100-80GB", epochs, 1)
    return (
        f"Falling curves for {epochs} epochs against the windows that a GPU takes in a second. Left the hours, one curve for any GPU. Right the "
        f"dollars, the H100's curve above the A100's. A diamond marks the H100's measured speed: {hours:.1f} hours and {dollars:.2f} dollars. "
        f"A horizontal line from it meets the A100's curve at {even:.0f} windows a second."
    )


explore(draw, alt=describe, epochs=("epochs", [6, 50, 100]))

# %% tags=["hide-input"]
even = speed_of(dollars, "A100-80GB", 100, 1)
record(
    even=even,
    even_factor=speed.training / even,
    price_factor=rate.dollars_per_second
    / price("A100-80GB").dollars_per_second,
    by_hours=speed_of(25, "A100-80GB", 100, 0),
    by_dollars=speed_of(140, "A100-80GB", 100, 1),
)

# %% [markdown]
# At <span data-result="even:.0f">294</span> windows a second the A100 costs as much as the H100, which is then
# <span data-result="even_factor:.2f">1.51</span> times as fast. Its price is <span data-result="price_factor:.2f">1.58</span> times as high, but the eight cores
# beside it cost the same for both. Only the speed *for the price* counts, so compare dollars for an epoch, never dollars for an hour.
#
# The note's two figures belong to two speeds. If its epoch had 50,000 windows too, its 25 hours are
# <span data-result="by_hours:.0f">60</span> windows a second, and its \$140 are <span data-result="by_dollars:.0f">31</span> by the prices above: what it paid for an hour was about
# twice ours. (Ours has the eight cores in it; the 25 hours that the app prints have the GPU alone.) <!-- given: quoted from the note -->
#
# ### The speed, measured
#
# What is measured elsewhere is a hint; your configuration on your GPU is an answer. To come: a lab that measures each
# configuration of the package, and plain torch beside mamba_ssm's kernels.
#
# ## A rule that is checked at home
#
# <a id="lab-timeout"></a>
#
# How long may one attempt last? Modal takes a timeout [from 1 second to 24
# hours](https://modal.com/docs/guide/timeouts). Its client passes on any number, and the service refuses a wrong one only after
# everything before it was done ([chapter 03](03_modal_image.ipynb) shows who checks what). The note asked for 30 hours.

# %% tags=["lab:timeout"]
from helpers.cloud import TimeoutRuleError, checked_timeout

with expect_error(TimeoutRuleError, match="takes 2 attempts"):
    checked_timeout(30 * 3600)

# %% [markdown]
# The note's cure is to set 86,400 and to hope that 25 hours fit into 24. The limit is one of an *attempt*, though, and that is a smaller
# problem: a run may have many attempts, if each goes on where the last one ended. The app checks the rule in its first lines, before
# it declares an image.
#
# ## Send a run
#
# <a id="lab-smoke"></a>
#
# Recordings are prepared on Modal by `--action prepare`, one container each, from a bucket that is mounted read-only; [chapter
# 03](03_modal_image.ipynb#lab-secret) has shown the Secret that opens it. They lie in a Volume afterwards, as the training's results
# will. Here that Volume is a folder, and we fill it ourselves, with **synthetic** EEG of subjects who do not exist.

# %% tags=["lane:cpu", "setup"]
from helpers.teaching.modal_lab import checkout, modal_run

repository, workbook = checkout(lab), lab / "workbook"
if repository != workbook:  # on Colab, it was cloned there
    workbook.symlink_to(repository)
volumes = lab / "volumes"
results = volumes / "workbook-results"

# %% nbmake={"mock": {"EPOCHS": 1, "MINUTES": 4}} tags=["lane:cpu", "setup"]
SUBJECTS, MINUTES = 4, 6
EPOCHS, STEPS = 2, 10  # steps in each epoch

# %% tags=["lane:cpu"]
from helpers.eeg import prepare
from helpers.eeg.synthetic import write_recordings

write_recordings(lab / "recordings", SUBJECTS, MINUTES, SEED)
_ = prepare(lab / "recordings", results / "store", workers=1)

# %% [markdown]
# The smallest network that has all the parts is enough. A configuration of your own travels with the call, as a text:

# %% tags=["lane:cpu", "setup"]
_ = lab.write(
    "tiny.yaml",
    f"""
    detector: {{widths: [4, 4, 8, 32], rescnn_blocks: 0, mamba_layers: 1}}
    optimizer: {{lr: 0.003, warmup: 0.1}}
    fractions: {{train: 0.5, validation: 0.25, test: 0.25}}
    epochs: {EPOCHS}
    windows_per_epoch: {2 * STEPS}
    batch_size: 2
    workers: 0
    checkpoint_every: 3
    """,
)

# %% [markdown]
# **Guess** what happens when you close your computer after this command. (`--gpu none`: the model has no GPU. At Modal you leave
# it out, and get an H100, or say `--gpu L4`.)

# %% tags=["lane:cpu", "setup"]
TRAIN = ["workbook/env/modal/app.py", "--action", "train", "--gpu", "none"]
TRAIN += ["--config", "tiny.yaml"]


# %% tags=["lane:cpu"]
@needs("mount namespaces")
def smoke_run():
    return modal_run(lab, "run", *TRAIN, "--run", "whole", volumes=volumes)


# %% [markdown]
# (`needs` has run the function already; its name now stands for what it returned.) It trained, in a container that saw nothing but the app's
# files and the Volume. This is what the client had asked for:

# %% tags=["lane:cpu"]
from modal_proto import api_pb2 as modal_words


def asked(service):
    state = service.requests("AppCreate")[0].app_state
    kind = service.requests("FunctionMap")[0].function_call_invocation_type
    print("the App:", modal_words.AppState.Name(state))
    print("the call:", modal_words.FunctionCallInvocationType.Name(kind))


if smoke_run:
    asked(smoke_run)

# %% [markdown]
# The App is *ephemeral*: it lives as long as the client that started it. Close your computer, and the training ends with it. One word keeps
# it alive, `modal run --detach env/modal/app.py …`, and it stands **before** the file: behind it, options belong to the app,
# which knows none of that name.
#
# The call is *asynchronous*: `train.spawn(…)` starts it and returns at once, and `.get()` waits for its result. `train.remote(…)` does
# both in one, but what it begins
# [expires after 24 hours](https://github.com/modal-labs/modal-examples/blob/main/06_gpu_and_ml/long-training.py). So a
# long training needs `--detach` and `.spawn()`.
#
# ## Past 24 hours
#
# <a id="lab-past-24-hours"></a>
#
# Now the long run. This is how the app declares its training:

# %% tags=["lane:cpu"]
source = (workbook / "env/modal/app.py").read_text(encoding="utf-8")
begin = source.index("# Past 24 hours")
print(source[begin : source.index('"""', begin)].rstrip())

# %% [markdown]
# The decorator holds the first two parts and the Volume. The commit, the rename and the resume are in what the Function runs.
#
# | part | what would happen without it |
# |---|---|
# | `retries` | the run ends at its first timeout |
# | `single_use_containers` | the next attempt may get a process that still holds the last one's memory |
# | `volumes`, and a commit after each checkpoint | the next attempt finds an older checkpoint, or none |
# | `last.ckpt` is written beside its place, and renamed | the next attempt may find half of one ([chapter 11](11_training.ipynb#lab-half-file)) |
# | `fit(…, resume=True)`, always | each attempt begins at step 0, so none ever reaches the end |
#
# An attempt also ends when Modal needs the machine for something else: [every Function may be
# *preempted*](https://modal.com/docs/guide/preemption), that is stopped, and then started again with the same input. So even a run of two hours needs all of them but the first.
#
# To see it work at Modal you would wait for two days. The model lets time pass by whatever clock you give it. This one says that the whole training takes 60 hours, so
# each of its 20 steps takes 3, and it reads the time from the step of the last checkpoint. With a checkpoint every 3 steps it jumps by 9 hours: from 18,
# at step 6, to 27, at step 9. <!-- given: arithmetic with the numbers of the cells -->

# %% nbmake={"mock": {"HOURS": 40}} tags=["lane:cpu"]
HOURS = 60

# %% tags=["lane:cpu"]
saved = results / "runs" / "long" / "last.ckpt"
seen = {}  # the step of each version of the file


def hours_so_far():
    if not saved.exists():
        return 0.0
    version = saved.stat().st_mtime_ns
    if version not in seen:
        checkpoint = torch.load(saved, weights_only=True)
        seen[version] = checkpoint["training"]["step"]
    return HOURS * seen[version] / (EPOCHS * STEPS)


# %% [markdown]
# **Guess** before you run it: how many attempts? And where in the curve of losses will you see the kills?


# %% tags=["lane:cpu"]
@needs("mount namespaces")
def long_run():
    command = ["run", "--detach", *TRAIN, "--run", "long"]
    clock = {"clock": lambda: 3600 * hours_so_far()}
    service = modal_run(lab, *command, volumes=volumes, **clock)
    for attempt in service.attempts:
        print("attempt", attempt["attempt"], attempt["status"])
    return service


# %% tags=["lane:cpu"]
if long_run:
    asked(long_run)
    days = [HOURS * step / (EPOCHS * STEPS) / 24 for step in seen.values()]
    late = np.searchsorted(days, range(1, len(long_run.attempts)))
    kills = [list(seen.values())[index] for index in late]
    print("24 hours were over at the checkpoints of steps", *kills)

# %% [markdown]
# Read it from the top: each attempt prints its first line, and a retry says at which step it goes on. `timeout` stands for SIGKILL, sent to all
# processes of the container: no clean-up, no last save. (If Modal is gentler, so much the better; nothing relies on it. This clock is read from
# checkpoints, so the kill comes right after one; [chapter 11](11_training.ipynb#lab-kill) kills anywhere.) Now compare with the run before,
# which had the same configuration and was not disturbed:

# %% tags=["lane:cpu"]
if long_run:
    whole, broken = (
        torch.load(results / "runs" / name / "last.ckpt", weights_only=True)
        for name in ("whole", "long")
    )
    apart = (whole["steps"] - broken["steps"]).abs().max().item()
    print(len(broken["steps"]), "steps; losses and gradients are", end=" ")
    print(apart, "apart at most")
    record(long_steps=len(broken["steps"]), long_difference=apart)
    assert apart == 0
    assert len(broken["steps"]) == EPOCHS * STEPS

# %% mystnb={"image": {"alt": "Loss against the step of a short training. A thick gray line is the run in one attempt. On it, without any visible distance, lies a thin dashed line, that of the run in three attempts. Two vertical lines mark where 24 hours were over; neither is at the end of an epoch, and nothing in the curve changes there."}} tags=["lane:cpu", "hide-input"]
if long_run:
    with style():
        figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
        steps = np.arange(1, len(whole["steps"]) + 1)
        for run, color, width, kind, name in [
            (whole, COLORS["line"], 5, "-", "one attempt"),
            (broken, COLORS["accent"], 1.5, "--", "three attempts"),
        ]:
            losses = run["steps"][:, 0]
            axes.plot(
                steps, losses, kind, color=color, linewidth=width, label=name
            )
        for step in kills:
            axes.axvline(step, color=COLORS["marked"], linewidth=1)
        axes.set(
            xlabel="step; vertical: 24 hours are over", ylabel="focal loss"
        )
        axes.set_title(f"{HOURS} hours under a limit of 24")
        axes.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
        axes.margins(y=0.25)
        axes.legend(loc="upper right", ncols=2)
    plt.show()

# %% [markdown]
# Not alike: the same numbers, to the last bit. Curves that look alike can hide a part of the state that was lost; equal numbers cannot. [Chapter 11](11_training.ipynb#lab-kill) explains why that is possible, and why it is on a
# CPU only. A test of this book does it with the app at every change.
#
# One of the five parts the model cannot prove. Its Volume is a folder, in which a file is there without a commit, too. At Modal it is
# [not](https://modal.com/docs/reference/modal.Volume): others see a file after a commit. Modal makes some of its own, in the background and when a
# container ends, at moments that it chooses. The app does not wait for them, and commits after each checkpoint.
#
# ### What a kill costs
#
# Lost are the steps since the last checkpoint, at most `checkpoint_every`, and the start of the next attempt. **Guess:** which is the
# larger, for the `full` configuration, with a checkpoint every 200 steps of 64 windows?

# %%
lost = 200 * 64 / speed.training  # s
print(f"steps: {lost:.0f} s at most; start: {START} s; of 86,400 s")
record(lost_seconds=lost)

# %% [markdown]
# The start. Saving more often than every <span data-result="lost_seconds:.0f">29</span> seconds would gain nothing that you could notice.
#
# <a id="lab-start"></a>
#
# To come: how long a start takes, with an empty folder of compiled kernels and with that of the start before.
#
# Modal takes [at most ten
# retries](https://github.com/modal-labs/modal-examples/blob/main/06_gpu_and_ml/long-training.py), so eleven attempts: eleven days. What
# is longer than that, you start again by hand.
#
# ## Resume, or not
#
# <a id="lab-resume"></a>
#
# By hand it is the same command once more. What is in the Volume is the state, and the app goes on with it:
#
# | you want | command |
# |---|---|
# | a smoke run | `modal run env/modal/app.py --action train --config smoke` |
# | the full training, overnight, with mamba_ssm's kernels | `modal run --detach env/modal/app.py --action train --config full --recipe A` |
# | go on after eleven attempts, or after you stopped it | the same command again |
# | a new run beside the old one | add `--run second` |
# | a new run, and an error if one is there | add `--no-resume` |
# | see what a run has written | `modal volume ls workbook-results runs/full` |
# | its score on subjects that it never saw | `modal run env/modal/app.py --action evaluate --run full` |
# | today's prices; what you have spent | `modal billing rates`; `modal billing summary` |
#
# The note writes `--resume true`, which [chapter 03](03_modal_image.ipynb#lab-commands) has explained:

# %% tags=["lane:cpu", "lab:resume"]
with expect_error(LabError, match="unexpected extra argument"):
    modal_run(lab, "run", *TRAIN, "--resume", "true", run=False)

# %% [markdown]
# And `--no-resume` must not bite the retries: an attempt after a timeout has to go on although you asked for a new run. So each call carries
# a mark of its own, which the first attempt writes into the run's folder. Who finds the mark of its own call there is a retry, and goes on; who
# finds another one stops with an error.
#
# ## Several GPUs
#
# <a id="lab-devices"></a>
#
# `--gpu H100:2` rents two GPUs in one container, and the trainer takes all that it sees. Each process has a whole copy of the network, takes
# its share of *every* batch, and the gradients are averaged before the step: *data parallelism*. `batch_size` counts over all of them, so the
# configuration stays what it was, and so should the losses. **Guess:** do they? Two processes on this CPU are enough to find out.
#
# First four windows a batch, of the recordings above:

# %% nbmake={"mock": {"BATCHES": 2}} tags=["lane:cpu"]
BATCHES = 8

# %% tags=["lane:cpu"]
from helpers.eeg import build_manifest, labels_of, open_store

store = open_store(results / "store")
chosen = build_manifest(store).balanced(SEED)
windows = [chosen[k % len(chosen)] for k in range(4 * BATCHES)]
truth = [labels_of(store[id].seizures, start) for id, start in windows]
np.savez(
    lab / "batches.npz", eeg=store.batch(windows), labels=np.array(truth) > 0
)

# %% [markdown]
# All layers treat each window by itself, except one kind. **Which?** Batch norm: it scales by the mean and the spread of the *batch*, and a process
# sees its share of it only. So here is a batch norm that asks the other processes. `Sum` adds up over all of them in the forward pass. In the backward
# pass it adds up again, since every process's loss depends on every process's windows now.

# %% tags=["lane:cpu"]
_ = lab.write(
    "shared.py",
    """
    import torch, torch.distributed as dist

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            total = x.clone()
            dist.all_reduce(total)                    # in place
            return total

        @staticmethod
        def backward(_, gradient):
            total = gradient.clone()
            dist.all_reduce(total)
            return total

    class SharedNorm(torch.nn.BatchNorm1d):
        def forward(self, x):                     # (share, channels, length)
            moments = torch.stack([x.mean((0, 2)), x.square().mean((0, 2))])
            mean, square = Sum.apply(moments) / dist.get_world_size()
            scale = self.weight * (square - mean**2 + self.eps).rsqrt()
            return (x - mean[:, None]) * scale[:, None] + self.bias[:, None]
    """,
)

# %% [markdown]
# And this is the program that each of the processes runs. `rank` is the number of the process and `world` how many there are; `all_reduce` replaces an
# array by its sum over all of them; `gloo` and `nccl` are the libraries that carry it, on CPUs and on GPUs; `DistributedDataParallel` averages the
# gradients in `backward()`. It trains three times: on whole batches, on shares, and on shares with `SharedNorm`; in
# float64, so that rounding hides nothing.

# %% tags=["lane:cpu"]
_ = lab.write(
    "two.py",
    """
    import numpy as np, torch, torch.distributed as dist
    from torch.nn.functional import binary_cross_entropy_with_logits
    from torch.nn.parallel import DistributedDataParallel
    from helpers.models import SeizureDetector
    from shared import SharedNorm

    dist.init_process_group("gloo")                    # "nccl" on GPUs
    rank, world = dist.get_rank(), dist.get_world_size()
    eeg, labels = (torch.from_numpy(found).double().unflatten(0, (-1, 4))
                   for found in np.load("batches.npz").values())

    def train(how):
        torch.manual_seed(13)
        model = SeizureDetector(widths=(4, 4, 8, 32), rescnn_blocks=0,
                                mamba_layers=1, dropout=0.0).double()
        mine = slice(None)                             # the whole batch
        if how != "whole":
            mine = slice(rank, None, world)            # every second window
            for layer in model.modules():
                if how == "shared" and isinstance(layer, torch.nn.BatchNorm1d):
                    layer.__class__ = SharedNorm       # keeps its weights
            model = DistributedDataParallel(model)
        adam, losses = torch.optim.AdamW(model.parameters(), lr=0.003), []
        for x, y in zip(eeg, labels):
            loss = binary_cross_entropy_with_logits(model(x[mine]), y[mine])
            adam.zero_grad()
            loss.backward()                            # and averages
            adam.step()
            dist.all_reduce(both := loss.detach().clone())     # in place: a sum
            losses.append(both.item() / world)
        return losses

    found = {how: train(how) for how in ("whole", "own", "shared")}
    if rank == 0:
        np.savez("losses.npz", **found)
    """,
)

# %% [markdown]
# `torchrun` starts it twice, and tells each process its rank. (`python -m torch.distributed.run` is the same command.)

# %% tags=["lane:cpu"]
launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
_ = lab.run(
    *(*launch, "--nproc-per-node", "2", "two.py"),
    env={"OMP_NUM_THREADS": "1"},
    timeout=900,
)
losses = np.load(lab / "losses.npz")
off = {how: abs(losses[how] - losses["whole"]).max() for how in losses}
for how in ("own", "shared"):
    print(f"two processes, {how:6s} batch norm: {off[how]:.1e} off at most")

# %% tags=["lane:cpu"]
record(own_off=off["own"], shared_off=off["shared"])
assert off["shared"] < 1e-9 < 1e-5 < off["own"]  # rounding, and more than that

# %% mystnb={"image": {"alt": "How far the losses of two processes are from those of one, against the step, on a logarithmic axis. With a batch norm of their own the line lies far above, at a thousandth or so, from the first steps on. With shared statistics it stays at the bottom, at the rounding of float64, about twelve powers of ten below."}} tags=["lane:cpu", "hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    steps = np.arange(1, BATCHES + 1)
    for how, kind, color, name in [
        ("own", "o:", COLORS["marked"], "each its own batch norm"),
        ("shared", "s--", COLORS["accent"], "shared batch norm"),
    ]:
        gap = abs(losses[how] - losses["whole"])
        gap = np.maximum(gap, 1e-17)  # a zero has no place on this axis
        axes.semilogy(steps, gap, kind, color=color, label=name)
    axes.set(xlabel="step", ylabel="off one process", ylim=(1e-18, 1))
    axes.set_title("Two processes, the same batches")
    axes.set_xticks(steps)
    axes.legend(loc="center right")
plt.show()

# %% [markdown]
# With shared statistics, two processes compute what one does, up to rounding. With their own, it is another training: not a wrong one, but one
# that depends on the number of GPUs. On GPUs the trainer shares the statistics (`sync_batchnorm`). Dropout masks are still drawn in each
# process, so with dropout (it was 0 here) two GPUs differ from one. And why do the averaged gradients add no more than rounding? All shares are equally large. Where they
# are not, a mean of means is not the mean; exercise 13.3 mends it. (In the figure, an exact zero is drawn just above the lower edge.)
#
# ### Start them
#
# The loop above is for looking at. In practice you start the trainer, and it does all of this. There are two ways:
#
# ```bash
# workbook train full --store store --output run               # devices: auto
# torchrun --nproc-per-node 2 -m helpers.cli train full --store store --output run
# ```
#
# The first is Lightning's launch. The process that you start is number 0, and it starts one more for each further GPU. With `torchrun` something
# else starts all of them, which is how clusters do it; Lightning notices, and takes its rank from there. With `devices: 2` in the configuration both run
# on a CPU as well, where each process keeps a batch norm of its own. The app uses the first way: `--gpu H100:2` is all that you add.
#
# ### Does it pay?
#
# <a id="lab-two-gpus"></a>
#
# Two GPUs cost twice as much a second. They take half the time at best, if each still has enough to do with half a batch, and if
# the loader keeps up with both. Then the cost is the same, and you wait half as long. A second GPU never repairs a training that waits for its
# windows. *Field note C*, on the same project, plans for eight GPUs; measure two first.
#
# To come: two GPUs and one, with the trainer itself.
#
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | `Timeout must be between …`, or the app's own line | more than 24 hours for one attempt | <a href="#lab-timeout">86,400, and checkpoints</a> |
# | the training is gone after you closed the computer | the App was ephemeral | <a href="#lab-smoke">`--detach`, before the file</a> |
# | `No such option '--detach'` | it stands behind the file | the same |
# | the call expires after a day, though the container would go on | `.remote()` | `.spawn()`, then `.get()` |
# | every attempt begins at step 0 | a checkpoint elsewhere than in the Volume, or none committed yet | <a href="#lab-past-24-hours">the five parts</a> |
# | attempts, and no progress | the first checkpoint comes later than the kill | a smaller `checkpoint_every` |
# | `holds a training` | `--no-resume`, and a run of that name | `--run another` |
# | the bill is a multiple of the estimate | the GPU waits: for windows, or for its image | time the first epoch of the full run: windows, divided by seconds, against the table |
# | another curve on two GPUs | batch norm, unequal shares, dropout | <a href="#lab-devices">share what looks at the batch</a> |
# | `batch_size … cannot be shared` | shares have to be equal | a multiple of the number of GPUs |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **13.1** Write `attempts(work, timeout, start, every)`: how many attempts a run needs. It has `work` seconds of computing in all. Each
# attempt is killed after `timeout` seconds, of which `start` go by before the first step. After every `every` seconds of computing
# in an attempt a checkpoint is saved; what came after the last one is lost. The last attempt needs no checkpoint. `math.inf` if it never ends.

# %%
from helpers.teaching import check, solution


def attempts(work, timeout, start, every): ...


check("13.1", attempts)

# %% tags=["remove-input"]
solution("13.1")

# %% [markdown]
# **13.2** Write `cheapest(gpus, windows, deadline)`. `gpus` is a dict of `name: (dollars a second, windows a second)`, in which the speed is
# `None` where nobody measured it. Return the name of the GPU that takes so many windows for the least money, within `deadline` seconds; `"none"` if no
# GPU is known to.


# %%
def cheapest(gpus, windows, deadline): ...


check("13.2", cheapest)

# %% tags=["remove-input"]
solution("13.2")

# %% [markdown]
# **13.3** Write `joined(gradients, sizes)`: `gradients[k]` is the mean gradient over the `sizes[k]` windows of process `k`, an array. Return
# the mean gradient over all windows.


# %%
def joined(gradients, sizes): ...


check("13.3", joined)

# %% tags=["remove-input"]
solution("13.3")

# %% [markdown]
# **13.4** Write `save(content, write, rename, commit)`, which keeps a checkpoint. `write(name, content)` writes a file of the Volume, bit by bit;
# `rename(old, new)` happens or does not; `commit()` makes what is there outlive the container. The container may be killed in any of them, and the Volume then
# keeps what was there at that moment. `last.ckpt` has to be whole at any time, the old one or the new, and the new one in the end.


# %%
def save(content, write, rename, commit): ...


check("13.4", save)

# %% tags=["remove-input"]
solution("13.4")

# %% [markdown]
# **In a terminal**, from the folder of the repository, run a long training as the app's user would, against the model:
#
# ```bash
# cat > /tmp/tiny.yaml <<'END'
# detector: {widths: [4, 4, 8, 32], rescnn_blocks: 0, mamba_layers: 1}
# optimizer: {lr: 0.003, warmup: 0.1}
# fractions: {train: 0.5, validation: 0.25, test: 0.25}
# epochs: 20
# patience: 20
# windows_per_epoch: 40
# batch_size: 2
# workers: 0
# checkpoint_every: 3
# END
# MODEL="python -m helpers.cloud --volumes /tmp/volumes"
# $MODEL -- modal run env/modal/app.py --action prepare --synthetic 4 --minutes 6 --gpu none
# $MODEL --time-scale 0.0003 -- modal run --detach env/modal/app.py --action train --config /tmp/tiny.yaml --gpu none
# ```
#
# With this scale 24 hours last 26 seconds, so how many attempts it takes depends on your machine. `--time-scale` is for the second command only:
# it would shorten the time limits of the first one, too. <!-- given: 86,400 s times the scale -->
#
# ## Recap
#
# - Cost is windows, divided by speed, times price. Speed is measured, prices have dates, and an estimate from computing alone is the least.
# - Compare GPUs by dollars for an epoch.
# - 24 hours limit an attempt, not a run. Retries, a fresh container, a Volume, a rename and a resume make a run of many attempts, and each is needed.
# - `--detach` before the file, `.spawn()` and `.get()` in it.
# - Test it killed, in scaled time, and ask for the same losses to the last bit.
# - Several GPUs share each batch. Whatever looks at the whole batch has to be shared, too.
#
# ## What next
#
# You have all that a training takes, from the recording to the bill. [Chapter 12](12_scoring.ipynb) says what came out of it. The [field notes,
# checked](../book/field_notes.md) hold each of their claims about time and money against what you saw.
