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
# # Start here
#
# In this chapter a real clinical EEG goes through the whole path once: from a file to 19 channels, through a
# bidirectional Mamba-2 network, to events and a score. Later chapters take each step apart.
#
# **You will**
#
# - see what your machine can run;
# - read a 30-minute recording and look at a seizure in it;
# - cut it into windows without copying a byte;
# - run all of them through the detector, on whatever device is there;
# - meet a baseline with a single feature that beats the network, and say why that proves little.
#
# **You need** Python and the basics of PyTorch. No EEG, no state space models: words are explained as they come, and
# the [glossary](../book/glossary.md) has them all.
#
# The network here is *untrained*. That is on purpose: this chapter is about the path, and an untrained network is the
# best test of whether you believe a score that you should not believe.

# %% tags=["remove-cell"]
import importlib.util

# On Colab this installs the workbook. Where it is installed already, nothing happens.
if importlib.util.find_spec("helpers") is None:
    from IPython import get_ipython

    repository = "git+https://github.com/clarity-digital-twin/bimamba-eeg-workbook"
    get_ipython().run_line_magic(
        "pip",
        f'install --quiet "bimamba-eeg-workbook[workbook] @ {repository}@v0.1.0"',
    )

# %% [markdown]
# ## What this machine can run

# %%
from helpers.environment import preflight

report = preflight()
for verdict in report.verdicts:
    print(f"{verdict.name:20s} {verdict.answer:8s} {verdict.reason}")

# %% [markdown]
# The first line has to say *yes*. If it does not, run `workbook preflight` in a terminal (after
# `source .venv/bin/activate`, where `make` installed it): it prints what to do.
#
# Everything below runs on one device. A GPU is used if PyTorch finds one.

# %%
from helpers.detection import best_device

device = best_device()
device

# %% [markdown]
# ## A real recording
#
# `load` fetches the recording once (53 MB), checks it by hash, and keeps it in your cache folder. It is a routine EEG of
# a ten-year-old boy with childhood absence epilepsy, published with the Python package
# [eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/) by Christopher Lee-Messer under the BSD-3-Clause license.

# %%
from helpers.eeg import load

raw = load("absence")
print(len(raw.ch_names), "channels,", raw.info["sfreq"], "Hz")
print(f"{raw.times[-1] / 60:.1f} minutes")

# %% [markdown]
# That is an [MNE](https://mne.tools) `Raw` object, so everything you know of MNE works on it. A technician and a
# physician left marks in the recording. Some of them:

# %%
for mark in list(raw.annotations)[-42:-30]:
    print(f"{mark['onset']:8.1f} s  {mark['description']}")

# %% [markdown]
# HV is hyperventilation: the boy breathes deeply for three minutes, which is known to provoke absence seizures. Three of
# them were marked. `seizures` gives each as onset and end, in seconds.

# %%
from helpers.eeg import seizures

marked = seizures(raw)
for onset, end in marked:
    print(f"{onset:8.1f} to {end:.1f} s, {end - onset:.1f} s long")

# %% [markdown]
# ## Nineteen channels, in a fixed order
#
# The file has more channels than a detector needs: ears, eyes, heart, markers. The international 10-20 system names 19
# electrodes on the scalp. Files spell them in many ways (`EEG Fp1`, `FP1-REF`, `T7` for `T3`), so channels are taken by
# name, never by position.

# %%
from helpers.eeg import CANONICAL, average_reference

eeg = average_reference(raw)
print(" ".join(raw.ch_names[:6]), "…")
print(" ".join(CANONICAL))

# %% [markdown]
# `average_reference` picks the 19, puts them in the order above, and subtracts their mean at each instant. A voltage is
# always a difference; now each channel is the difference from the average of all.
#
# **Guess before you look at the next figure.** An absence seizure is a few seconds in which the child stops, stares and
# does not answer. What will the EEG look like: flat, faster and smaller, or slower and larger?

# %% mystnb={"image": {"alt": "Twelve seconds of EEG, six channels above each other, time from 1411 to 1423 seconds on the x axis. For the first six seconds the traces wander within some 100 microvolts. Then, in a shaded stretch marked as a seizure, all channels swing together in large waves of several hundred microvolts, about three each second, each wave led by a sharp spike."}} tags=["hide-input"]
import matplotlib.pyplot as plt

from helpers.teaching import COLORS, style

onset, end = marked[1]
part = eeg.copy().crop(onset - 6, end).pick(["Fp1", "F3", "Cz", "P4", "O2", "T4"])
with style():
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    for row, trace in enumerate(part.get_data() * 1e6):
        axes.plot(
            part.times + onset - 6,
            trace - 400 * row,
            color=COLORS["ink"],
            linewidth=0.7,
        )
    axes.axvspan(onset, end, color=COLORS["marked"], alpha=0.2, linewidth=0)
    axes.set_yticks([-400 * row for row in range(6)], part.ch_names)
    axes.set_xlabel("time (s); one step on the y axis is 400 µV")
    axes.set_title("Where the shading begins, a seizure was marked")
plt.show()

# %% [markdown]
# Slower and larger: about three waves a second, each with a spike, on every channel at once. Neurologists call it
# generalized 3 Hz spike-and-wave. Keep the *three a second* in mind.

# %% [markdown]
# ## From volts to the network's input
#
# `preprocess` does five things, and chapter 09 plots each: average reference; a notch, which takes out the hum of the
# mains (60 Hz here); a band-pass, which takes out what is slower than 0.5 Hz; resampling to 256 Hz; and scaling of each
# channel by its own spread.

# %%
from helpers.eeg import SFREQ, preprocess

samples = preprocess(raw)
samples.shape, samples.dtype, f"{SFREQ:.0f} Hz"  # (channels, samples)

# %% [markdown]
# The network reads 60 seconds at a time. Windows overlap: one begins every 10 seconds, so that each sample lies in about
# six of them. (Without a GPU one begins every 30 seconds, or you would wait.) **Guess:** how much memory do all windows
# take?

# %% nbmake={"mock": {"STRIDE": 15360}}
STRIDE = 2560 if device == "cuda" else 7680  # samples: 10 s, or 30 s

# %%
import numpy as np

from helpers.eeg import window_starts, windows

starts = window_starts(samples.shape[1], stride=STRIDE)
views = windows(samples, stride=STRIDE)
print(len(views), "windows of", views[0].shape)
shared = all(np.shares_memory(view, samples) for view in views)
print("same memory as the recording:", shared)

# %% [markdown]
# None. Each window is a view: a start and a length, not a copy. Chapter 10 builds a data set of many recordings on this.

# %% [markdown]
# ## The detector
#
# Four parts, in the order of the table below:
#
# - The *encoder* of a U-Net: convolutions that look at short stretches and halve the rate four times, from 256 samples a
#   second to 16 steps a second, each with 512 numbers.
# - *ResCNN*: three blocks of wider convolutions, each added to its own input.
# - Six *Mamba-2* layers. A convolution sees a fixed stretch. A state space model, which Mamba-2 is, carries a state from
#   step to step: at each step it lets the state fade by some amount, writes the new input into it, and reads an answer
#   from it, and the input decides how much of each. So it can remember over the 960 steps of a whole window. Here one
#   copy reads forward in time and one backward: *bidirectional*.
# - The *decoder*: the U-Net's other half, back up to 256 answers a second, with *skips* that hand it the encoder's detail.

# %%
import torch

from helpers.detection import load_detector
from helpers.models import parameters_by_stage

SEED = 0
model, name = load_detector(seed=SEED)
print(name)
for stage, count in parameters_by_stage(model).items():
    print(f"{stage:8s} {count:12,d}")

# %% [markdown]
# Two thirds of the parameters sit in the Mamba-2 layers. Remember the total: in chapter 08 you will meet the same
# network described with 13.4 million parameters, and find out what that number really counts.
#
# One window first. The output is a *logit* for each sample; a sigmoid turns it into a probability.

# %%
batch = torch.from_numpy(views[0])[None].to(device)  # (1, 19, 15360)
model.to(device)
with torch.inference_mode():
    logits = model(batch)  # (1, 15360)
print(tuple(batch.shape), "->", tuple(logits.shape))
lowest, highest = torch.sigmoid(logits).aminmax()
print(f"probabilities from {lowest:.3f} to {highest:.3f}")

# %% [markdown]
# The range is narrow: a network that has learned nothing commits to nothing. Now every window. `fuse_for_inference`
# makes a copy that computes the same function with fewer operations.

# %%
import time

from IPython.display import ProgressBar

from helpers.environment import keep_freed_memory
from helpers.models import fuse_for_inference

keep_freed_memory()  # or a CPU would spend its time handing memory back
fused = fuse_for_inference(model)
batch_size = 32 if device == "cuda" else 4
began, probabilities = time.perf_counter(), []
with torch.inference_mode():
    for step in ProgressBar(-(-len(views) // batch_size)):
        batch = torch.from_numpy(
            np.stack(views[step * batch_size : (step + 1) * batch_size])
        ).to(device)
        probabilities.extend(torch.sigmoid(fused(batch)).cpu().numpy())
seconds = time.perf_counter() - began

# %%
each = seconds / len(probabilities)
print(f"{len(probabilities)} windows in {seconds:.1f} s on {device}")
print(f"{1000 * each:.0f} ms each")
print(f"{raw.times[-1] / seconds:.0f} times faster than real time")

# %%
from helpers.teaching import record

record(
    ms_per_window=1000 * seconds / len(probabilities),
    times_real_time=raw.times[-1] / seconds,
)

# %% [markdown]
# On the machine that stored this page: <span data-result="ms_per_window:.1f">8.0</span> ms for a window of a minute,
# <span data-result="times_real_time:.0f">1280</span> times faster than real time. A number in the text with a dotted line below
# it was measured by this notebook; `record` keeps it, and hovering tells where it comes from.

# %% [markdown]
# ## From windows to one line
#
# Each sample lies in several windows, so it has several probabilities. `stitch` averages them; then we average over each
# second, because nobody needs 256 answers a second.

# %%
from helpers.scoring import mean_by_second, stitch

line = stitch(probabilities, starts, samples.shape[1])  # (samples,)
times, scores = mean_by_second(line, SFREQ)  # (seconds,)
print(len(scores), "scores, from", f"{scores.min():.4f} to {scores.max():.4f}")

# %% [markdown]
# To make events of it, an event begins where the score reaches 0.86, lasts until it falls below 0.78, closes gaps of two
# seconds and is at least three seconds long. These are the reference detector's numbers.

# %%
from helpers.scoring import events_from_scores

events_from_scores(times, scores, on=0.86, off=0.78, min_duration=3, merge_gap=2)

# %% [markdown]
# None, as it should be: the network never comes near 0.86.
#
# **Guess before the next cell.** The AUROC is the chance that a second inside a seizure scores higher than a second
# outside. 1 is perfect, and 0.5 is a coin. It looks at the order of the scores only: a difference in the third decimal
# counts as much as one from 0 to 1. This network has random weights. What is its AUROC?

# %%
from helpers.scoring import auroc

ictal = np.zeros(len(times), bool)
for onset, end in marked:
    ictal |= (times >= onset) & (times < end)
untrained = auroc(ictal, scores)
print(f"AUROC of an untrained network: {untrained:.3f}")
print(f"from {ictal.sum()} scores inside seizures")

# %% [markdown]
# Not 0.5. Nothing was learned, and still the number is far from a coin's. **Guess again:** other random weights, drawn
# with other seeds. Will they land near the first one, or around 0.5? (One window a minute is enough to see it.)

# %%
SEEDS = range(4) if device == "cuda" else range(2)

# %%
minutes = window_starts(samples.shape[1], stride=15360)
rescored = {}
for seed in ProgressBar(len(SEEDS)):
    drawn = fuse_for_inference(load_detector(seed=SEEDS[seed])[0]).to(device)
    with torch.inference_mode():
        answers = [
            torch.sigmoid(
                drawn(torch.from_numpy(samples[None, :, s : s + 15360]).to(device))
            )
            for s in minutes
        ]
    answers = stitch(
        [answer[0].cpu().numpy() for answer in answers], minutes, samples.shape[1]
    )
    rescored[SEEDS[seed]] = auroc(ictal, mean_by_second(answers, SFREQ)[1])

# %%
for seed, value in rescored.items():
    print(f"seed {seed}: AUROC {value:.3f}  {'#' * round(40 * value)}")
record(
    lowest_untrained_auroc=min(rescored.values()),
    highest_untrained_auroc=max(rescored.values()),
)

# %% [markdown]
# All seizure seconds of this recording look alike: large, slow, everywhere at once. So a random network answers all of
# them in the same way, all a little higher than the rest or all a little lower, and which of the two is luck. Pick the
# luckiest of four seeds, and you have an untrained network with an AUROC of
# <span data-result="highest_untrained_auroc:.3f">0.993</span>, which would look fine in a paper. The unluckiest has
# <span data-result="lowest_untrained_auroc:.3f">0.162</span>.
#
# That is the first lesson in scoring. A score from one patient with one kind of seizure measures the patient at least as
# much as the detector.

# %% [markdown]
# ## A rule with one feature
#
# You saw three waves a second. So take the power between 2.5 and 4.5 Hz in windows of two seconds, its median over the
# channels, and compare with its own median over the recording. That is the whole detector:

# %%
from helpers.detection import detect_by_rule

rule = detect_by_rule(raw)
print(rule.method)
print(f"AUROC {rule.score(marked).auroc:.4f} (untrained network: {untrained:.4f})")

# %% [markdown]
# Hard to beat. Its events, with the mark that a person left within five seconds of each:

# %%
for event in rule.events:
    near = [
        m["description"]
        for m in raw.annotations
        if abs(m["onset"] - event.onset) < 5 and m["duration"] == 0
    ]
    print(f"{event.onset:8.1f} to {event.end:7.1f} s   {', '.join(near)}")

# %% [markdown]
# EFD stands for *epileptiform discharge*: a burst between seizures, of the same kind but too short to be one. (`L` is
# *left*; `#11` and `purple` are words that the boy was given to remember, and could not recall.) So the rule's false
# alarms are not noise; they are the hardest negatives that this recording has.
#
# How many false alarms is that? It depends on who counts.

# %%
score = rule.score(marked)
for counted in (score.overlap, score.szcore):
    found = f"{counted.found} of {counted.reference} found"
    alarms = f"{counted.false_alarms} false alarms"
    print(counted.rules, found, alarms, sep=", ")
    print(f"  in 24 hours: {counted.false_alarms_per_24h:.0f} false alarms")

# %% [markdown]
# SzCORE, the field's common scoring, merges events that are less than 90 seconds apart. Three seizures become one, and
# three of the discharges become one false alarm. Neither count is wrong. They answer different questions, and a number
# without its rules answers none. Chapter 12 is about this.
#
# And a false alarm rate for 24 hours from a recording of half an hour is an extrapolation, nothing more.

# %% [markdown]
# ## The picture

# %% mystnb={"image": {"alt": "Three panels about the one-feature rule on the 30-minute recording. Top: its score each second on a logarithmic axis with a dashed threshold at 40; the score stays near 1 and crosses the threshold in four short peaks between minute 10 and 14 and in three longer ones between minute 23 and 25, where marked seizures are shaded. Middle: a strip with seven detected and three marked events; the last three coincide. Bottom: twelve seconds of 19-channel EEG around the highest score, with large 3 Hz spike-and-wave inside the shaded seizure."}}
from helpers.teaching import detection_figure

detection_figure(raw, rule, marked)
plt.show()

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | `ModuleNotFoundError: helpers` | the notebook runs in another environment than the one that `make` made | choose the kernel of `.venv`, or run `make lab` |
# | the download stops | no network, or a proxy in between | `workbook data fetch` says which, and what to do; the file is kept once it is whole |
# | `RecordingError` about missing channels | the file is bipolar, or spells its channels in a new way | [chapter 09](09_recordings.ipynb) |
# | a run of minutes, not seconds | there is no GPU, or PyTorch does not see it | `workbook preflight` names the reason |
# | a wonderful score | one patient, one kind of seizure, a threshold chosen on the same recording | ask what a rule with one feature reaches |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **00.1** Write `count_windows(n_samples, window, stride)`: how many windows does `window_starts` make? One starts every
# `stride` samples from sample 0, as long as it fits; if the last of them ends before the recording does, one more window
# ends exactly with it.

# %%
from helpers.teaching import check, solution


def count_windows(n_samples, window, stride): ...


check("00.1", count_windows)

# %% tags=["remove-input"]
solution("00.1")

# %% [markdown]
# **00.2** Write `count_false_alarms(events, seizures)`: both are lists of `(onset, end)` in seconds, and an event that
# overlaps no seizure at all is a false alarm.


# %%
def count_false_alarms(events, seizures): ...


check("00.2", count_false_alarms)

# %% tags=["remove-input"]
solution("00.2")

# %% [markdown]
# **00.3** Write `alarms_a_day(count, seconds)`: so many false alarms in so many seconds, scaled to 24 hours. Then try it on
# one false alarm in this recording. Would you buy that detector?


# %%
def alarms_a_day(count, seconds): ...


check("00.3", alarms_a_day)

# %% tags=["remove-input"]
solution("00.3")

# %% [markdown]
# **In a terminal**, run `workbook detect` on an EDF file of your own, or on a text file that you renamed to `.edf`. Read the
# error: it should tell you what was found, what was expected, and what to do.
#
# ## Recap
#
# What you may say now:
#
# - The path works: file, channels, windows, network, scores, events, on this machine.
# - The network is untrained and detects nothing.
# - The rule finds the three seizures of this recording. Its threshold was **chosen on this recording**, so its score here
#   is no evidence that it would work on any other.
# - **One patient shows nothing about performance**: no sensitivity, no false-alarm rate, no accuracy follows from it.
#
# ## What next
#
# [Chapter 09](09_recordings.ipynb) takes the first step apart: from a file to 19 channels, and everything that can go
# wrong on the way. The other chapters are to come; the [map of the book](../book/intro.md) says what each of them holds.
# The [API reference](../book/api.md) describes every helper that you used.
