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
# An epileptic seizure shows in the EEG, the voltages on the scalp. A *seizure detector* reads a recording and says when
# there was one. In this chapter a real clinical EEG goes through the whole path once: from a file to 19 channels, through
# a bidirectional Mamba-2 network, to a score for every second, to events, and to a count of what was found and what was
# a false alarm. Later chapters take each step apart.
#
# **You will**
#
# - see what your machine can run;
# - read a 30-minute recording and look at a seizure in it;
# - cut it into windows without copying a byte;
# - run all of them through the detector, on whatever device is there;
# - meet a baseline with a single feature that beats the network, and say why that proves little;
# - and a trained network with a wonderful score, which finds nothing here.
#
# **You need** Python and the basics of PyTorch. No EEG, no state space models: words are explained as they come, and the
# [glossary](../book/glossary.md) keeps them.
#
# The network here is *untrained*, up to the last section. That is on purpose. This chapter is about the path, and an
# untrained network makes the best test: whatever score it gets, you know that it has learned nothing.

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

# %% [markdown]
# ## What this machine can run

# %%
from helpers.environment import preflight

report = preflight()
for verdict in report.verdicts:
    print(f"{verdict.name:20s} {verdict.answer:8s} {verdict.reason}")

# %% [markdown]
# The first line has to say *yes*: that is all this chapter needs. The others are extras: a GPU, the official
# Mamba kernels (no chapter requires them), building this book, and JupyterLab. Where the first says *no*, run `workbook preflight` in a terminal
# and it prints what to do. (If `make` installed it, say `source .venv/bin/activate` first.)
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
# That is a `Raw` object of [MNE](https://mne.tools), the library that most people in Python read EEG with. It holds the
# samples, the names of the channels, and the marks that a technician and a physician left. Here are the marks around two
# of the seizures:

# %%
for mark in raw.annotations:
    if 1376 < mark["onset"] < 1430 and mark["duration"] == 0:
        print(f"{mark['onset']:8.1f} s  {mark['description']}")

# %% [markdown]
# HV is hyperventilation: the boy breathes deeply for three minutes, which is known to provoke absence seizures. `SZ START`
# and `SZ END` enclose one. He stops blowing; he is told the number eleven, and later cannot recall it. An absence is short
# and quiet, and while it lasts the child is not there.
#
# Three were marked. `seizures` gives each as onset and end, in seconds. (Such marks are made by eye: good to about a
# second.)

# %%
from helpers.eeg import seizures

marked = seizures(raw)
for onset, end in marked:
    print(f"{onset:8.1f} to {end:.1f} s, {end - onset:.1f} s long")

# %% [markdown]
# ## Nineteen channels, in a fixed order
#
# The file has more channels than a detector needs: ears, eyes, heart, markers. The international 10-20 system names 19
# electrodes on the scalp. A network knows a channel by its row alone, so the rows have to stand in one order, always. Files
# spell the names in many ways (`EEG Fp1`, `FP1-REF`, `T7` for `T3`), so each is looked up by its name.

# %%
from helpers.eeg import CANONICAL, average_reference

eeg = average_reference(raw)
print(", ".join(raw.ch_names[:6]), "…")
print(" ".join(CANONICAL))

# %% [markdown]
# `average_reference` picks the 19, puts them in the order above, and subtracts their mean at each instant. A voltage is
# always a difference; now each channel is the difference from the average of all. (`eeg` is for looking at, and for the rule near the end; the network's
# input is made from `raw` further below.)
#
# **Guess before you look at the next figure.** An absence seizure is a few seconds in which the child stops, stares and
# does not answer. What will the EEG look like: flat, faster and smaller, or slower and larger?

# %% mystnb={"image": {"alt": "Twelve seconds of EEG, six channels above each other, time from 1411 to 1423 seconds on the x axis. For the first six seconds the traces wander within some 100 microvolts. Then, in a shaded stretch marked as a seizure, all channels swing together in large waves of several hundred microvolts, about three each second, each wave led by a sharp spike."}} tags=["hide-input"]
import matplotlib.pyplot as plt

from helpers.teaching import COLORS, style

onset, end = marked[1]
part = (
    eeg.copy().crop(onset - 6, end).pick(["Fp1", "F3", "Cz", "P4", "O2", "T4"])
)
with style():
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    for row, trace in enumerate(part.get_data() * 1e6):
        axes.plot(
            part.times + onset - 6,
            trace - 600 * row,
            color=COLORS["ink"],
            linewidth=0.7,
        )
    axes.axvspan(onset, end, color=COLORS["marked"], alpha=0.2, linewidth=0)
    axes.set_yticks([-600 * row for row in range(6)], part.ch_names)
    axes.set_xlabel("time (s); one step on the y axis is 600 µV")
    axes.set_title("Where the shading begins, a seizure was marked")
plt.show()

# %% [markdown]
# Slower and larger: about three waves a second, most of them led by a spike, on all channels at once, until they fade out.
# Neurologists call it generalized 3 Hz spike-and-wave. Keep the *three a second* in mind. (The fuzz on T4, near the jaw, is
# muscle.)

# %% [markdown]
# ## From volts to the network's input
#
# `preprocess` does five things, and [chapter 09](09_recordings.ipynb) plots each: average reference; a notch filter, which
# takes out the hum of the mains (60 Hz, as this was recorded in the United States); a high-pass, which takes out what is
# slower than 0.5 Hz; resampling to 256 Hz, the rate that the network was designed for; and a division of each channel by how
# widely its samples spread.

# %%
from helpers.eeg import SFREQ, preprocess

samples = preprocess(raw)
samples.shape, samples.dtype, f"{SFREQ:.0f} Hz"  # (channels, samples)

# %% [markdown]
# The network reads 60 seconds at a time. Windows overlap: one begins every 10 seconds, so that each sample lies in about
# six of them. (Without a GPU one begins every 30 seconds, and fewer seeds are drawn further below, or you
# would wait: the two times on the card are not for the same work.) **Guess:** how much memory do all windows
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
#
# %%
copies = len(views) * views[0].nbytes
print(f"the recording: {samples.nbytes / 1e6:.0f} MB")
print(f"copies of all windows would be {copies / 1e6:.0f} MB")

# %% [markdown]
# No more than the recording has already. Each window is a *view*: a start and a length, not a copy. Only the few windows that
# go through the network at one time are copied together, and dropped again. [Chapter 10](10_windows.ipynb) builds a data set
# of many recordings on this.

# %% [markdown]
# ## The detector
#
# Four parts, from the input to the answer:
#
# - The *encoder*: convolutions, each of which looks at a short stretch. Four times they halve the rate, from 256 samples a
#   second to 16 steps a second, and at the end each step is described by 512 numbers.
# - *ResCNN*: three blocks of convolutions that look at a wider stretch; each adds what it finds to its own input.
# - Six layers of *Mamba-2*, of which more in a moment.
# - The *decoder*: convolutions that bring the rate back up to 256 answers a second. *Skips* hand it the encoder's detail at
#   each rate. Encoder and decoder together, with skips, are called a U-Net. A last small *head* makes one number of each
#   step.
#
# Mamba-2 is a *state space model*. A convolution sees a fixed stretch and keeps nothing; a state space model carries a
# state, a set of numbers, from step to step. Here it is in miniature, with a state of one number:

# %%
fade, write, read = 0.8, 1.0, 0.5
state, answers = 0.0, []
for x in [1, 0, 0, 0, 2, 0]:
    state = fade * state + write * x
    answers.append(round(read * state, 2))
answers

# %% [markdown]
# The 1 at the first step can still be seen at the fourth. In Mamba-2 the state has many numbers, and `fade`, `write` and
# `read` are no constants: at each step they are computed from the input. So the network can decide to keep something for all
# 960 steps of a window (60 s, 16 a second), or to forget at once.
#
# It only knows the past. So each of the six layers has two of them, one that reads forward in time and one that reads
# backward, and joins what both say: *bidirectional*. Every step then knows what comes before it and what comes after. The
# price is that the whole window has to be there: an alarm at the bedside would come late.

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
# Two thirds of the parameters sit in the Mamba-2 layers. Remember the total: in [chapter 08](08_detector.ipynb) you will meet
# the same network described with 13.4 million parameters, and find out what that number really counts.
#
# One window first. The output is a *logit* for each sample, any number from minus to plus infinity; a sigmoid turns it into
# the probability that this sample lies in a seizure. That is what training would make of it.

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
import math

from IPython.display import ProgressBar

from helpers.environment import keep_freed_memory
from helpers.models import fuse_for_inference

keep_freed_memory()  # or a CPU would spend its time handing memory back
batch_size = 32 if device == "cuda" else 4


def probabilities_of(model, views):
    fused, found = fuse_for_inference(model).to(device), []
    for step in ProgressBar(math.ceil(len(views) / batch_size)):
        batch = np.stack(views[step * batch_size : (step + 1) * batch_size])
        with torch.inference_mode():
            logits = fused(torch.from_numpy(batch).to(device))  # (batch, 15360)
        found.extend(torch.sigmoid(logits).cpu().numpy())
    return found


# %%
import time

from helpers.teaching import record

began = time.perf_counter()
probabilities = probabilities_of(model, views)
seconds = time.perf_counter() - began
print(f"{len(views)} windows in {seconds:.1f} s on {device}")
record(
    ms_per_window=1000 * seconds / len(views),
    times_real_time=raw.times[-1] / seconds,
)

# %% [markdown]
# On the machine that stored this page: <span data-result="ms_per_window:.1f">23.0</span> ms for a window of a minute,
# and as every second is read about six times, the whole recording went through
# <span data-result="times_real_time:.0f">445</span> times faster than real time. (A first run on a GPU also compiles its kernels;
# [chapter 08](08_detector.ipynb) times them without.) A number in the text with a dotted line below
# it was measured by this notebook; where you have a mouse, hovering tells on which device.

# %% [markdown]
# ## From windows to one line
#
# Each sample lies in several windows, so it has several probabilities. `stitch` averages them; then we average over each
# second, because nobody needs 256 answers a second. That is the *score* of a second.

# %%
from helpers.scoring import mean_by_second, stitch

line = stitch(probabilities, starts, samples.shape[1])  # (samples,)
times, scores = mean_by_second(line, SFREQ)  # (seconds,)
print(len(scores), "scores, from", f"{scores.min():.4f} to {scores.max():.4f}")

# %% [markdown]
# To make events of it: an event is a stretch in which the score stays above 0.78 and reaches 0.86. Two thresholds, so
# that a score that trembles around one of them does not make ten events of one. Gaps of up to two seconds are closed, and
# what is shorter than three seconds is dropped. The numbers are those of the published detector that this network follows.

# %%
from helpers.scoring import events_from_scores

events_from_scores(
    times, scores, on=0.86, off=0.78, min_duration=3, merge_gap=2
)

# %% [markdown]
# An empty list, as it should be: no score comes near 0.86.
#
# **Guess before the next cell.** There is a measure that needs no threshold. Draw one second inside a seizure and one outside:
# the AUROC is the chance that the first has the higher score. 1 is perfect, 0.5 is a coin, and 0 is perfect upside down. It
# looks at the order of the scores only: a difference in the third decimal counts as much as one from 0 to 1. This network
# has random weights. What is its AUROC?

# %%
from helpers.scoring import auroc

ictal = np.zeros(len(times), bool)
for onset, end in marked:
    ictal |= (times >= onset) & (times < end)
untrained = auroc(ictal, scores)
print(f"AUROC of an untrained network: {untrained:.3f}")
print(f"from {ictal.sum()} scores inside seizures")

# %% [markdown]
# Not 0.5. Nothing was learned, and still the number is far from a coin's: as far as 0.84 is, on the other side. **Guess
# again:** other random weights, drawn with other seeds. Will they land near the first one, or around 0.5? (One window a minute
# is enough: it hardly moves the first number.)

# %% nbmake={"mock": {"SEEDS": [1]}}
SEEDS = range(4) if device == "cuda" else range(2)

# %%
minute = round(60 * SFREQ)  # samples
each_minute = window_starts(samples.shape[1], stride=minute)
rescored = {}
for seed in SEEDS:
    drawn = probabilities_of(
        load_detector(seed=seed)[0], windows(samples, stride=minute)
    )
    drawn_line = stitch(drawn, each_minute, samples.shape[1])
    drawn_scores = mean_by_second(drawn_line, SFREQ)[1]
    rescored[seed] = auroc(ictal, drawn_scores), drawn_scores.max()

# %%
for seed, (value, highest) in rescored.items():
    bar = "#" * round(20 * value)
    print(f"seed {seed}: AUROC {value:.3f}, highest score {highest:.2f}  {bar}")
values, highest = zip(*rescored.values(), strict=True)
record(lowest_untrained_auroc=min(values), highest_untrained_auroc=max(values))
record(highest_untrained_score=max(highest))

# %% [markdown]
# The seizure seconds of this recording are alike: large, slow and everywhere at once. Hardly anything else in it is, a few
# seconds in half an hour. So random weights tend to answer all of them in the same way: mostly higher than the rest, or mostly lower, and which of the
# two is luck. Pick the luckiest of these seeds, and you have an untrained network with an AUROC of
# <span data-result="highest_untrained_auroc:.3f">0.993</span>, which would look fine in a paper. The unluckiest has
# <span data-result="lowest_untrained_auroc:.3f">0.162</span>. Neither ever says "seizure": the highest score of any of them is
# <span data-result="highest_untrained_score:.2f">0.52</span>, and an event needs 0.86.
#
# That is the first lesson in scoring. A figure of merit from one patient with one kind of seizure measures the patient at
# least as much as the detector.

# %% [markdown]
# ## A rule with one feature
#
# You saw three waves a second. So take the power between 2.5 and 4.5 Hz, in windows of two seconds, one every second; the
# median over the channels; and divide by the median over the recording. That is the whole detector:

# %%
from scipy.signal.windows import hann

rate = round(raw.info["sfreq"])
pieces = np.stack(windows(eeg.get_data(), window=2 * rate, stride=rate))
pieces = pieces - pieces.mean(axis=-1, keepdims=True)  # (seconds, 19, 2 s)
spectra = np.abs(np.fft.rfft(pieces * hann(2 * rate, sym=False))) ** 2
frequencies = np.fft.rfftfreq(2 * rate, 1 / rate)
band = (frequencies >= 2.5) & (frequencies <= 4.5)
power = np.median(spectra[..., band].mean(axis=-1), axis=-1)  # (seconds,)
ratio = power / np.median(power)

# %% [markdown]
# `detect_by_rule` is the same, with its errors for bad input, and makes events of it: a second belongs to one if its power is
# at least 40 times the median.

# %%
from helpers.detection import detect_by_rule

rule = detect_by_rule(raw)
print("the same scores:", np.allclose(rule.scores, ratio))
print(f"AUROC of the rule: {rule.score(marked).auroc:.4f}")
print("of untrained networks:", ", ".join(f"{v:.4f}" for v in values))

# %% [markdown]
# Hard to beat, and hard to tell from the luckiest network. Its events, with the marks that a person left within five seconds of
# each:

# %%
for event in rule.events:
    near = [
        m["description"]
        for m in raw.annotations
        if abs(m["onset"] - event.onset) < 5 and m["duration"] == 0
    ]
    print(f"{event.onset:8.1f} to {event.end:7.1f} s   {', '.join(near)}")

# %% [markdown]
# EFD stands for *epileptiform discharge*: the same kind of waves, for a second or two, outside any seizure and without the
# signs of one. (The other words are notes: `purple` was a second word to remember, and `L` stands alone in the file.) So the rule's
# false alarms are not noise: a person marked each of them, as waves of the same kind.
#
# Is a shorter event than three seconds worth an alarm? The rule has no such limit; with the network's limit its four false
# alarms would be gone, and with them any chance to find a seizure of two seconds. A limit is a choice as well.
#
# How many false alarms is it, then? It depends on who counts. By *overlap*, each event stands for itself, and is a
# false alarm if it overlaps no marked seizure.

# %%
score = rule.score(marked)
for counted in (score.overlap, score.szcore):
    found = f"{counted.found} of {counted.reference} found"
    alarms = f"{counted.false_alarms} false alarms"
    print(counted.rules, found, alarms, sep=", ")
    print(f"  in 24 hours: {counted.false_alarms_per_24h:.0f} false alarms")

# %% [markdown]
# SzCORE, the field's common scoring, first merges events that are less than 90 seconds apart. The three marked seizures, 33
# and 54 seconds apart, become one, and so do three of the four discharges. Overlap answers "how often would the alarm go off?",
# SzCORE "how many times would somebody have to come and look?". Neither count is wrong. A number without its rules answers
# nothing. [Chapter 12](12_scoring.ipynb) is about this.
#
# And a false alarm rate for 24 hours from a recording of half an hour is an extrapolation, nothing more.

# %% [markdown]
# ## The picture
#
# Below is what `workbook detect` draws for any recording. In the upper panel look at three things: the four narrow peaks
# before minute 14 are the discharges; from minute 22 to 25 the deep breathing slows the whole EEG and lifts the score to
# several times its usual level, still below the threshold; and out of that stand the three seizures. (The two drops in the
# first minute are no EEG: the marks there say `Biocal CAL`, a calibration, and `IMP CHECK ON`, a check of the electrodes.)

# %% mystnb={"image": {"alt": "Three panels about the one-feature rule on the 30-minute recording. Top: its score each second on a logarithmic axis with a dashed threshold at 40; the score stays near 1 and crosses the threshold in four short peaks between minute 10 and 14 and in three longer ones between minute 23 and 25, where marked seizures are shaded. Middle: a strip with seven detected and three marked events; the last three coincide. Bottom: twelve seconds of 19-channel EEG around the highest score, with large 3 Hz spike-and-wave inside the shaded seizure."}}
from helpers.teaching import detection_figure

detection_figure(raw, rule, marked)
plt.show()

# %% [markdown]
# ## A network that has learned something
#
# Now a trained one. `"synthetic"` names weights that come with this book: the same kind of network with narrower layers, trained
# on *synthetic* EEG alone, drawn by a program, with seizures that slow down, grow and spread. No recording of a person took part.
# First, ten minutes of a synthetic subject that it never saw:

# %% nbmake={"mock": {"MINUTES": 4}}
MINUTES = 10

# %%
from helpers.detection import detect_by_network
from helpers.eeg.synthetic import draw_recording

drawn = draw_recording(SEED, minutes=MINUTES)  # synthetic EEG
trained = detect_by_network(drawn, weights="synthetic")
score = trained.score(seizures(drawn))
print(f"AUROC on a synthetic recording: {score.auroc:.3f}")
print(f"{score.overlap.found} of {score.overlap.reference} found")
record(synthetic_auroc=score.auroc)

# %% [markdown]
# One recording is luck, as you know by now. So its [card](../weights/README.md) has 32 more subjects, 16 hours: nearly all of
# their seizures are found, with an AUROC that a paper would print in bold.
#
# **Guess:** what will it make of the child's three seizures?

# %%
real = detect_by_network(raw, weights="synthetic")
score = real.score(marked)
print(f"AUROC on the real recording: {score.auroc:.3f}")
print(f"{score.overlap.found} of {score.overlap.reference} found")
highest = real.times[real.scores.argmax()]
print(f"highest score {real.scores.max():.2f}, at {highest / 60:.1f} minutes")
record(trained_auroc=score.auroc, trained_highest=real.scores.max())
record(highest_minute=highest / 60)

# %% mystnb={"image": {"alt": "Two panels with the score of the trained network, from 0 to 1, against time in minutes; marked seizures are shaded and a dashed line stands at 0.86. Top, synthetic: the score lies near 0.1 and rises above the line exactly where the seizure is shaded. Bottom, the real recording of 30 minutes: the score lies near 0.1, has a few low peaks, the highest about 0.5 before minute 23, and stays low in all three narrow shaded seizures, which follow."}} tags=["hide-input"]
with style():
    figure, panels = plt.subplots(
        2, 1, figsize=(9, 4.6), sharey=True, layout="constrained"
    )
    for axes, found, spans, title in [
        (panels[0], trained, seizures(drawn), "A synthetic subject, unseen"),
        (panels[1], real, marked, "The real recording"),
    ]:
        axes.plot(found.times / 60, found.scores, color=COLORS["accent"])
        axes.axhline(0.86, color=COLORS["ink"], linewidth=1, linestyle="--")
        for onset, end in spans:
            axes.axvspan(
                onset / 60, end / 60, color=COLORS["marked"], alpha=0.35
            )
        axes.set(ylabel="score", ylim=(0, 1), title=title)
    panels[1].set_xlabel("time (min); shaded: marked seizures")
plt.show()

# %% [markdown]
# None of them. The AUROC is <span data-result="trained_auroc:.2f">0.35</span>, below a coin's, and nothing is broken: same
# code, same weights as a moment ago. The network learned what its generator calls a seizure, and an absence is
# another thing. What it finds most suspicious, with a score of <span data-result="trained_highest:.2f">0.50</span> at minute
# <span data-result="highest_minute:.0f">22</span>, is the deep breathing.
#
# That is the second lesson in scoring. A score belongs to a detector *and* the data it was measured on. It carries over to other data as far
# as they are alike, and the score itself does not say how far that is.

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | `ModuleNotFoundError: helpers` | the notebook runs in another environment than the one that `make` made | choose the kernel of `.venv`, or run `make lab` |
# | the download stops | no network, or a proxy in between | `workbook data fetch` says which, and what to do; the file is kept once it is whole |
# | `RecordingError` about missing channels | the file is bipolar, or spells its channels in a new way | [chapter 09](09_recordings.ipynb) |
# | much longer than the card above says | fewer or slower cores, or a GPU that PyTorch does not see | `workbook preflight` names the reason; a slow CPU may take minutes |
# | a trained network that finds nothing | it was trained on something else | ask for its card: which data, whose, which kind of seizure |
# | a wonderful score | one patient, one kind of seizure, a threshold chosen on the same recording | ask what a rule with one feature reaches |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **00.1** Write `count_windows(n_samples, window, stride)`: how many windows does `window_starts` make? One starts every
# `stride` samples from sample 0, as long as it fits; if the last of them ends before the recording does, one more window
# ends exactly with it. The recording is never shorter than one window. You can compare with `len(views)`.

# %%
from helpers.teaching import check, solution


def count_windows(n_samples, window, stride): ...


check("00.1", count_windows)

# %% tags=["remove-input"]
solution("00.1")

# %% [markdown]
# **00.2** Write `count_false_alarms(events, seizures)`: both are lists of `(onset, end)` in seconds, and an event that
# overlaps no seizure at all is a false alarm (touching at one point is no overlap). Then try it on
# `[(event.onset, event.end) for event in rule.events]` and `marked`.


# %%
def count_false_alarms(events, seizures): ...


check("00.2", count_false_alarms)

# %% tags=["remove-input"]
solution("00.2")

# %% [markdown]
# **00.3** Write `alarms_a_day(count, seconds)`: so many false alarms in so many seconds, scaled to 24 hours. Then try it on a
# single false alarm in this recording of 1811 seconds: one event more or less decides whether the rate looks good. That is
# what "extrapolation" meant above.


# %%
def alarms_a_day(count, seconds): ...


check("00.3", alarms_a_day)

# %% tags=["remove-input"]
solution("00.3")

# %% [markdown]
# **In a terminal**, run `workbook detect FILE` on an EDF file of your own (EDF is the usual format of EEG files), or on a text
# file that you renamed to `.edf`. Read the error: it should tell you what was found, what was expected, and what to do.
#
# ## Recap
#
# What you may say now:
#
# - The path works: file, channels, windows, network, scores, events, on this machine.
# - An untrained network never says "seizure", whatever its AUROC.
# - The trained one finds nearly every seizure of its own synthetic kind, and none of this child's.
# - The rule finds the three seizures of this recording. Its band was chosen after looking at one of them, and its threshold
#   **on this recording**, so neither its AUROC nor its counts are evidence that it would work on any other.
# - **One patient shows nothing about performance** on the next one: no sensitivity, no false-alarm rate, no accuracy carries
#   over.
#
# ## What next
#
# [Chapter 09](09_recordings.ipynb) takes the first step apart: from a file to 19 channels, and everything that can go
# wrong on the way; [chapter 10](10_windows.ipynb) makes windows of many recordings, [chapter 11](11_training.ipynb) trains on
# them, [chapter 12](12_scoring.ipynb) scores. The [map of the book](../book/intro.md) says what each chapter holds.
# The [API reference](../book/api.md) describes every helper that you used.
