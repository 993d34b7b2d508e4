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
# # Windows, labels and patients
#
# A detector learns from *windows* of 60 seconds. How they are cut, what they are called, which of them are kept and who
# is on which side of the split: all of this happens before the first weight changes, and a mistake in it makes no error.
# It makes a good score. In this chapter you build such a data set, and measure how much of a score can be a mistake.
#
# **You will**
#
# - prepare a folder of recordings into one array each, and read windows out of it without copying them on disk;
# - turn marked seizures into a label for each sample, and windows into *none*, *partial* and *full*;
# - balance them, and say what that does to every probability that comes out later;
# - let the same classifier shine and fail, by the split alone;
# - compare what a window costs from a compressed file and from a memory map;
# - gather windows on the device that trains.
#
# **You need** [chapter 09](09_recordings.ipynb), or trust in its result: 19 channels, 256 samples a second, robust
# scale, clipped at ±20. A GPU is used if there is one; everything runs without.

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
# ## A folder of recordings
#
# To keep patients apart there have to be patients. No public archive is small enough to fetch in a chapter, so most of
# them are made up. `write_recordings` draws **synthetic** EEG: noise with the spectrum of EEG, blinks, muscle, and seizures that
# grow and spread. Each subject has a spectrum, habits and a kind of seizures of its own. Nobody was recorded, and a score
# on it says nothing about patients. What it can show is how a score comes about.

# %% nbmake={"mock": {"MINUTES": 5, "SUBJECTS": 6}}
SEED = 10
SUBJECTS, MINUTES = 12, 8  # a few hours of EEG in a few seconds

# %%
from helpers.eeg.synthetic import write_recordings
from helpers.environment import Lab

lab = Lab()  # a throwaway folder; it goes with this kernel
folder = lab / "recordings"
paths = write_recordings(
    folder, SUBJECTS, MINUTES, SEED, recordings=2
)  # two of each subject
print(len(paths), "files, such as", paths[0].relative_to(folder))

# %% [markdown]
# One real patient joins them: the boy of chapter 00, with three marked absence seizures, from
# [eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/) by Christopher Lee-Messer (BSD-3-Clause). A link to the file in your
# cache is enough.

# %%
from helpers.eeg import cached, load

raw = load("absence")
(folder / "absence").mkdir()
(folder / "absence" / "absence.h5").symlink_to(cached("absence"))

# %% [markdown]
# ## One copy on disk
#
# `prepare` reads each recording, takes it through the steps of chapter 09, and writes the result once, as one array of the
# whole recording. The folder with these arrays is a *store*. In a terminal it is `workbook prepare FOLDER`.

# %%
from helpers.eeg import open_store, prepare

report = prepare(folder, lab / "store")
print(lab.hide(str(report)))
store = open_store(lab / "store")
print(store.subjects[:3], "…", len(store.subjects), "subjects")

# %% [markdown]
# The last number of the report counts recordings in which no seizure is marked. Of synthetic ones we know that there is none.
#
# Call it again, and it finds each one there, by its checksum, and does nothing. If it is killed in the middle (`kill -9`, or a power cut), nothing
# half-written is ever taken for a recording, and the next call goes on where it stopped: `tests/eeg/kill_prepare.py` kills it at
# random moments, and compares what is there afterwards.
#
# What does a store know of a recording?

# %%
real = store["absence/absence.h5"]
print(real.id, "of subject", real.subject)
print(f"{real.duration:.0f} s, seizures (s): {real.seizures}")
signal = store.signal(real.id)
print(type(signal).__name__, signal.dtype, signal.shape)  # (19, samples)

# %% [markdown]
# The array is a *memory map*: the file looks like an array, and the system reads only what is touched. Its numbers are
# integers of 16 bits, so two bytes each. A float32 takes four. **Guess before the next cell:** what is lost, for a signal between
# −20 and 20, and would a float16, also two bytes, lose more or less?

# %%
import numpy as np

from helpers.eeg import preprocess
from helpers.eeg.store import SCALE

exact = preprocess(raw)  # (19, samples), float32
half = exact.astype(np.float16).astype(np.float32)

# %%
errors = {
    "int16": np.abs(signal * np.float32(SCALE) - exact),
    "float16": np.abs(half - exact),
}
for kind, error in errors.items():
    print(f"{kind:8s} largest {error.max():.5f}, mean {error.mean():.6f}")
print(f"half a step of the integers: {SCALE / 2:.5f}")

# %% mystnb={"image": {"alt": "Error against size of the sample, both on logarithmic axes, from 0.01 to 20 robust standard deviations, for the real recording. The mean error of int16 is a flat line at 0.00015. That of float16 climbs in steps, one for each power of two: far below the line for small samples, equal to it between about 0.5 and 1, and more than ten times higher for the largest."}} tags=["hide-input"]
import matplotlib.pyplot as plt

from helpers.teaching import COLORS, record, style

edges = np.geomspace(0.01, 20, 60)
place = np.digitize(np.abs(exact[:, ::7]).ravel(), edges)
with style():
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for (kind, error), color, line in zip(
        errors.items(),
        [COLORS["accent"], COLORS["marked"]],
        ["-", "--"],
        strict=True,
    ):
        thin = error[:, ::7].ravel()
        means = [thin[place == bin_].mean() for bin_ in range(1, 60)]
        axes.loglog(edges[:-1], means, line, color=color, label=kind)
    axes.set(
        xlabel="size of the sample (robust SD)",
        ylabel="mean error (robust SD)",
        title="What two bytes lose",
    )
    axes.legend()
plt.show()

# %%
finer = np.mean(np.abs(exact) < 0.5)
print(f"samples below 0.5: {finer:.0%}")
largest = {f"{kind}_error": error.max() for kind, error in errors.items()}
record(below_half=100 * finer, **largest)

# %% [markdown]
# Integers have the same step everywhere, so the error is never more than half of it,
# <span data-result="int16_error:.5f">0.00031</span>. A float16 keeps eleven digits, binary ones, of each number: the
# <span data-result="below_half:.0f">39</span> % of samples near zero come out finer, and the spikes of a seizure coarser, by
# up to <span data-result="float16_error:.4f">0.0078</span>. One robust SD is about 15 to 20 µV on most channels here (chapter 09 draws them), so the
# integers are off by less than 0.01 µV, and a step of the original file was 0.1. The store takes them: their error has a bound that can be told
# in one number.

# %% [markdown]
# ## Windows, and how many of them see one second
# <a id="lab-stride"></a>
#
# A window is a start and a length. One begins every 10 seconds (the *stride*); 60 seconds are 15,360 samples.

# %%
from helpers.eeg import SFREQ, WINDOW, window_starts

starts = window_starts(real.n_samples)
print(len(starts), "windows, starts (s):", starts[:4] / SFREQ)
print("the last three (s):", starts[-3:] / SFREQ)

# %% [markdown]
# The recording lasts 1811 s, which is not a whole number of strides. The last window is shifted back, so that it ends with the
# recording. The [field notes](../book/field_notes.md) that this book began with come from a detector whose program drops what is
# left over, up to ten seconds at the end of each recording. A seizure can end there.
#
# **Guess:** how many windows hold one given second? Is it the same number for all?

# %%
covered = np.zeros(real.n_samples, int)
for start in starts:
    covered[start : start + WINDOW] += 1
print("seconds 0, 10, 20 …:", covered[:: 10 * 256][:8])
print("seconds seen 0, 1, 2 … times:", np.bincount(covered[::256]))
print("the last 20 seconds:", covered[-20 * 256 :: 256])

# %% [markdown]
# Six (60 / 10), but for the first and last 50 seconds: toward the ends it goes down to one. And because the last window is shifted back, its
# first nine seconds are in *seven*. Why read everything six times?
#
# - A seizure that begins in the last second of one window is a poor example there: one second of it, and nothing
#   after. Another window has it in the middle.
# - At detection, each second gets six answers, each with other surroundings, and their mean is steadier.
#
# The price is six times the computation, *not* six times the disk: a window is a view of the one array. (Chapter 12 puts
# all answers together.)

# %% [markdown]
# ## A label for each sample
#
# The detector answers for each sample, so each sample needs a truth: 1 inside a marked seizure, else 0. `labels_of` makes that
# from onset and end.

# %%
from helpers.eeg import labels_of

start = starts[136]
labels = labels_of(real.seizures, start)  # (15360,)
print(f"window from {start / SFREQ:.0f} s to {(start + WINDOW) / SFREQ:.0f} s")
print(f"{labels.sum():.0f} ones among {len(labels)}: {labels.mean():.3f}")

# %% mystnb={"image": {"alt": "Two panels above each other over the 60 seconds of one window of the real recording. Top: channel Cz in robust standard deviations, small and irregular but for two bursts of large waves, each shaded as a marked seizure: a short one after 20 seconds, and one that begins 3 seconds before the window ends and is cut off. Bottom: the label, a line at 0 that steps to 1 for as long as the shading lasts."}} tags=["hide-input"]
from helpers.eeg import CANONICAL

seconds = (start + np.arange(WINDOW)) / SFREQ
with style():
    figure, (top, bottom) = plt.subplots(
        2,
        1,
        figsize=(9, 4),
        sharex=True,
        height_ratios=[3, 1],
        layout="constrained",
    )
    top.plot(
        seconds,
        store.window(real.id, start)[CANONICAL.index("Cz")],
        color=COLORS["ink"],
        linewidth=0.6,
    )
    bottom.plot(seconds, labels, color=COLORS["accent"], linewidth=1.6)
    for onset, end in real.seizures[:2]:
        for axes in (top, bottom):
            axes.axvspan(
                onset, end, color=COLORS["marked"], alpha=0.25, linewidth=0
            )
    top.set(ylabel="Cz (robust SD)", title="A partial window, and its labels")
    bottom.set(
        xlabel="time (s)",
        ylabel="label",
        yticks=[0, 1],
        ylim=(-0.2, 1.2),
        xlim=(seconds[0], seconds[-1]),
    )
plt.show()

# %% [markdown]
# Two of the three seizures touch this window; the second is cut off, and goes on in the windows that begin later. The step is as sharp as a ruler, and the truth is not: such marks are made by eye. Say that they are good to
# a second: then the first and last few hundred ones are opinions.
#
# A window that is partly inside a seizure is called *partial*. One without any is *none*, and from 99 % on it is *full*.
# <!-- given: its definition -->
# Turn both controls. **Guess first:** which seizures never make a full window, whatever the stride?

# %%
from helpers.eeg.labels import ictal_share  # mean of the labels


def kinds(length, stride):
    begins = window_starts(300 * 256, stride=stride * 256)
    share = ictal_share([(130, 130 + length)], begins)
    partial = np.where(share < 0.99, "partial", "full")
    return begins / 256, np.where(share == 0, "none", partial)


# %% tags=["hide-input"]
from helpers.teaching import explore

SHADES = {"none": "line", "partial": "marked", "full": "accent"}


def draw(length, stride):
    with style():
        figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
        begins, kind = kinds(length, stride)
        rows = max(1, round(60 / stride)) + 1
        for number, (begin, what) in enumerate(zip(begins, kind, strict=True)):
            axes.broken_barh(
                [(begin, 59.5)],
                (-(number % rows), 0.7),
                facecolor=COLORS[SHADES[what]],
                hatch="//" * (what == "partial"),
                edgecolor="white",
                linewidth=0,
            )
        axes.axvspan(130, 130 + length, color=COLORS["ink"], alpha=0.15)
        none, partial, full = ((kind == k).sum() for k in SHADES)
        axes.set(xlabel="time (s); the seizure is shaded", yticks=[])
        axes.set_title(
            f"{none} none (gray), {partial} partial (hatched), {full} full (plain)"
        )
        axes.set_xlim(0, 300)
    return figure


# %% tags=["hide-input"]
def describe(length, stride):
    kind = kinds(length, stride)[1]
    return (
        f"Windows of 60 s as bars over 300 s, one every {stride} s, and a seizure from 130 to {130 + length} s: "
        f"{(kind == 'none').sum()} have none of it, {(kind == 'partial').sum()} a part, {(kind == 'full').sum()} are full."
    )


explore(
    draw,
    alt=describe,
    length=("seizure lasts (s)", [10, 40, 62, 90]),
    stride=("stride (s)", [5, 10, 20, 60]),
)

# %% [markdown]
# A seizure below 59.4 seconds never fills a window. <!-- given: 99 % of 60 s --> With a stride of 60 s even one of 90 s
# may leave no full window, as here, and its onset is seen once, wherever it falls. A small stride makes many partial windows of
# one seizure. They are *not* many seizures: nearly the same seconds, again and again. Keep this in mind for the split.

# %% [markdown]
# ## The manifest
#
# The *manifest* is the list of all windows of a store, and the kind of each. It reads no samples, only the marks, so it
# takes a moment. It is saved in the store, with a fingerprint of what is in there, and made again when that has changed.

# %%
from helpers.eeg import build_manifest

manifest = build_manifest(store)
print(manifest)
print("one entry:", manifest[200], manifest.kind[200])

# %% [markdown]
# <a id="lab-balanced"></a>
# Most windows have no seizure; in a hospital's archive far more. A network that always answers *no* is then right nearly
# always, and learns that first. So the training set is *balanced*: all partial windows, 0.3 times as many full ones, and 2.5
# times as many with none, drawn at random. The factors are those of the SeizureTransformer paper {cite:p}`wu2025seizuretransformer`,
# made for its archive; the [program](https://github.com/keruiwu/SeizureTransformer) that came with the paper has others.

# %%
balanced = manifest.balanced(SEED)
print("all     ", manifest.counts)
print("balanced", balanced.counts)


# %%
def samples_in_seizures(windows):
    seizures = [
        manifest.recordings[index].seizures for index in windows.recording
    ]
    pairs = zip(seizures, windows.start, strict=True)
    return np.mean([labels_of(spans, start).mean() for spans, start in pairs])


# %%
for name, chosen in (("all", manifest), ("balanced", balanced)):
    share, samples = np.mean(chosen.kind != "none"), samples_in_seizures(chosen)
    print(f"{name:9s} in a seizure: windows {share:.1%}, samples {samples:.1%}")
    record(**{f"{name}_windows": 100 * share, f"{name}_samples": 100 * samples})

# %% [markdown]
# <a id="lab-share"></a>
# Look at the two shares. The field notes give "~34% seizure ratio in training batches", the first kind:
# (1 + 0.3) / (1 + 0.3 + 2.5), if there are enough windows of each kind. <!-- given: arithmetic --> Here there are hardly any full ones, and
# <span data-result="balanced_windows:.0f">29</span> % came out. But the loss is computed from *samples*, and of those
# <span data-result="balanced_samples:.0f">12</span> % lie in a seizure. A weight for the rarer class that is set from the windows, as the
# program of the notes does, is set from the wrong number.
#
# <a id="lab-drawn-anew"></a>
# **Guess:** the windows without a seizure are drawn once, and the rest never used. How many of them does training see, if it
# draws anew in each epoch?

# %%
none, seen = manifest.counts["none"], set()
for epoch in range(5):
    drawn = manifest.balanced(SEED + epoch)
    seen |= {w for w, k in zip(drawn, drawn.kind, strict=True) if k == "none"}
    print(f"after epoch {epoch + 1}: {len(seen) / none:.1%} of {none}")
    record(**{f"seen_{epoch + 1}": 100 * len(seen) / none})

# %% [markdown]
# Drawn once, <span data-result="seen_1:.0f">60</span> % of them would be all that training ever sees. Drawn anew, it is
# <span data-result="seen_5:.1f">99.7</span> % after five epochs, at no cost. Where seizures are rarer, so is what one draw sees, and the gain
# is larger. Chapter 11 draws anew. The order is still a function of seed and epoch, so that a run can be repeated.
#
# <a id="lab-same-time"></a>
# One more claim of the notes: they mention the share of seizures under *slow training*. Does a window with a seizure take longer to read?

# %%
for window in manifest:
    store.window(*window)  # the first touch of a page costs more; not timed
rng = np.random.default_rng(SEED)
room = np.empty((16, 19, WINDOW), np.float32)

# %%
import time

took = {"none": [], "partial": []}
for _ in range(40):
    for kind, times in took.items():  # in turn, so that a busy moment hits both
        drawn = rng.choice(np.flatnonzero(manifest.kind == kind), 16)
        batch = [manifest[index] for index in drawn]
        began = time.process_time()  # what this process computes
        store.batch(batch, out=room)
        times.append(1000 * (time.process_time() - began))

# %%
for kind, times in took.items():
    low, middle, high = np.percentile(times, [25, 50, 75])
    print(
        f"16 windows, {kind}: {middle:.2f} ms, half of {low:.2f} to {high:.2f}"
    )
    record(**{f"{kind}_ms": middle, f"{kind}_low": low, f"{kind}_high": high})

# %% [markdown]
# <span data-result="none_ms:.2f">3.74</span> ms and <span data-result="partial_ms:.2f">3.62</span> ms (medians; half of the batches took from
# <span data-result="none_low:.2f">2.97</span> to <span data-result="none_high:.2f">3.93</span> and from
# <span data-result="partial_low:.2f">3.07</span> to <span data-result="partial_high:.2f">3.91</span> ms). Look at how far the medians lie apart, and how wide
# each spreads: bytes are bytes. Run the cells again, and the order may turn around.

# %% [markdown]
# ## When there is no partial window
# <a id="lab-no-partial"></a>
#
# A common message in training logs is "No partial seizure windows found". Let us make it. Somebody cuts two minutes out of the
# real recording, with the first of its seizures, and writes that into it under a name of their own:

# %%
import mne

piece = load("absence").pick("eeg").crop(1290, 1410)
onset, end = np.array(real.seizures[0]) - 1290
piece.set_annotations(mne.Annotations(onset, end - onset, "absence"))
(lab / "cut" / "sub-x").mkdir(parents=True)
mne.export.export_raw(lab / "cut" / "sub-x" / "x.edf", piece, verbose="error")
print(lab.hide(str(prepare(lab / "cut", lab / "second"))))

# %%
from helpers.eeg import StoreError
from helpers.environment import expect_error

with expect_error(StoreError, match="no partial windows among 8 of 1"):
    build_manifest(open_store(lab / "second")).balanced(SEED)

# %% [markdown]
# Nothing in the recording is called *seizure*, and the report above let it pass: prepared, nothing left out. Chapter 09 refused a label that it
# did not know. But marks *inside* a recording are free text, in which "lamp on" is as good as "absence", so any remark makes
# it a recording with annotations and without a seizure. All that hints at it is the end of the report's line: *1 without a marked seizure*. In a file
# *beside* the recording, where SzCORE and TUSZ have closed vocabularies, `absence` would have been an error.
#
# The notes' advice for this message begins with the manifest, and a variable that makes
# it anew. From the same marks the same list would come. Begin with the marks: a file beside the recording can say it in the
# words of SzCORE. Prepare again, and the manifest follows by itself.

# %%
row = f"{onset:.2f}\t{end - onset:.2f}\tsz_gen\n"
lab.write("cut/sub-x/x_events.tsv", "onset\tduration\teventType\n" + row)
report = prepare(lab / "cut", lab / "second")
print("arrays made:", len(report.prepared), "- kept:", len(report.kept))
print(build_manifest(open_store(lab / "second")))

# %% [markdown]
# The array was kept, since no sample has changed; only what is said about it has.

# %% [markdown]
# ## Who is in the test
# <a id="lab-leak"></a>
#
# Now the question that decides what a score means. Windows are to be divided into those that a classifier learns from and
# those that it is tested on. Three ways:
#
# - **by window**: shuffle them all, and deal them out;
# - **by recording**: each recording is on one side, so that no two windows on different sides overlap;
# - **by subject**: each person is on one side.
#
# The classifier is the simplest there is. Each window becomes 95 numbers, the log power of each channel in five
# frequency bands. A new window gets the answer of the *nearest* window that it knows. No training, nothing to tune.

# %%
synthetic = [name for name in store.subjects if name.startswith("sub-")]
chosen = manifest.of(synthetic).balanced(SEED)


# %%
def band_powers(window):  # (19, 15360)
    pieces = window.reshape(19, 60, 256)  # one second each
    power = np.abs(np.fft.rfft(pieces)) ** 2  # (19, 60, 129), 1 Hz apart
    # Sums over 1-4, 4-8, 8-13, 13-30 and 30-45 Hz; the sixth, the rest, goes.
    bands = np.add.reduceat(power, [1, 4, 8, 13, 30, 45], axis=-1)[..., :5]
    return np.log(bands.mean(axis=1)).ravel()  # (95,)


# %%
features = np.stack([band_powers(store.window(*w)) for w in chosen])
features.shape  # (windows, 95)


# %%
def nearest(known, new):
    """For each row of `new`, which row of `known` is nearest to it."""
    center, spread = known.mean(axis=0), known.std(axis=0)  # of known only
    known, new = (known - center) / spread, (new - center) / spread
    products = new @ known.T  # (new, known)
    return ((known**2).sum(axis=1) - 2 * products).argmin(axis=1)


# %%
def neighbors(groups, seed):
    """For each window its nearest one of other groups: six folds in turn."""
    names, group = np.unique(groups, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % 6
    found = np.empty(len(group), int)
    for number in range(6):
        test = fold[group] == number
        train = np.flatnonzero(~test)
        found[test] = train[nearest(features[train], features[test])]
    return found


# %% [markdown]
# The three ways differ in one argument, what may not be torn apart. As a score we take the *balanced accuracy*: the mean of the share
# of seizure windows and the share of others that are answered right. A coin gets one half.
#
# **Guess the three numbers before you run the cell.**

# %%
truth = chosen.kind != "none"
subject = np.array([chosen.recordings[i].subject for i in chosen.recording])
ways = {
    "window": np.arange(len(chosen)),
    "recording": chosen.recording,
    "subject": subject,
}
# %%
found = {
    way: [neighbors(groups, seed) for seed in range(5)]
    for way, groups in ways.items()
}


# %%
def balanced_accuracy(answers):
    return (answers[truth].mean() + (~answers[~truth]).mean()) / 2


# %%
accuracy = {
    way: [balanced_accuracy(truth[each]) for each in found[way]] for way in ways
}
for way, values in accuracy.items():
    print(f"by {way:10s} {np.mean(values):.2f}", np.round(values, 2))
    record(**{f"by_{way}": np.mean(values)})

# %% [markdown]
# The same windows, the same classifier: <span data-result="by_window:.2f">0.92</span> by window,
# <span data-result="by_recording:.2f">0.78</span> by recording, <span data-result="by_subject:.2f">0.71</span> by subject. Nothing
# was learned better. Who were the neighbors?

# %%
same = found["window"][0]
here = chosen.recording == chosen.recording[same]
overlaps = here & (np.abs(chosen.start - chosen.start[same]) < WINDOW)
print(f"neighbor of the same recording: {here.mean():.0%}")
print(f"shares samples with it: {overlaps.mean():.0%}")
record(neighbor_overlaps=100 * overlaps.mean())

# %% [markdown]
# Of the windows, <span data-result="neighbor_overlaps:.0f">94</span> % were answered by one that shares samples with it. The test
# asked for what had been handed over. That is the first leak, and a split by recording closes it.
#
# The second is quieter. To see it alone, take the seizures away: toss a coin for each *subject*, and call all of its
# windows "heads" or "tails". There is nothing in the EEG to be learned about a coin. **Guess** again: which share of the windows is
# answered right, over a hundred tosses? (A plain share will do: the sides of a coin are equally common.)


# %%
rng = np.random.default_rng(SEED)
names, whose = np.unique(subject, return_inverse=True)
coins = rng.integers(2, size=(100, len(names)))[:, whose]  # (coins, windows)
chance = {
    way: [np.mean(coins == coins[:, each]) for each in found[way]]
    for way in ways
}
for way, values in chance.items():
    print(f"by {way:10s} {np.mean(values):.2f}", np.round(values, 2))
    record(**{f"coin_by_{way}": np.mean(values)})

# %% mystnb={"image": {"alt": "Share of right answers from 0.3 to 1 for three ways to split, from left to right by window, by recording and by subject, five seeds each. Circles, for seizures, in balanced accuracy, fall from above 0.9 to below 0.8 and further to about 0.7. Squares, the plain share for coins tossed for each subject, fall from nearly 1 by window to about 0.7 by recording, and to a dashed line at one half by subject."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
    for values, shift, color, marker, name in [
        (accuracy, -0.08, COLORS["accent"], "o", "seizure or not (balanced)"),
        (chance, 0.08, COLORS["marked"], "s", "a coin for each subject"),
    ]:
        for at, way in enumerate(ways):
            axes.plot(
                [at + shift] * 5,
                values[way],
                marker,
                color=color,
                alpha=0.7,
                label=name if at == 0 else None,
            )
    axes.axhline(0.5, color=COLORS["ink"], linewidth=1, linestyle="--")
    axes.set(
        ylabel="share answered right",
        ylim=(0.3, 1.03),
        title="One classifier, synthetic EEG, three splits",
    )
    axes.set_xticks(range(3), [f"by {way}" for way in ways])
    axes.legend(loc="lower left")
plt.show()

# %% [markdown]
# By window the coin is "predicted" in <span data-result="coin_by_window:.2f">0.98</span> of cases, by recording in
# <span data-result="coin_by_recording:.2f">0.70</span>, by subject in <span data-result="coin_by_subject:.2f">0.51</span>, a coin's
# share. Between recordings nothing overlaps. What is left is that EEG looks like whose it is: slope, alpha, muscle. Whoever has seen
# your first recording knows you in the second. So only the third number says what happens with a new
# patient, and there is always a new patient.
#
# These persons are made up, and real ones leak by other amounts. That they do has been
# [measured for seizures](https://doi.org/10.3389/fnins.2024.1373515) and for dementia, with deep networks. The coin costs nothing: toss one for your
# own data set, and if your pipeline predicts it, look for the hole.

# %% [markdown]
# ## Splits that cannot leak
# <a id="lab-splits"></a>
#
# `split_subjects` deals out subjects, those with seizures first, so that each side gets some.

# %%
from helpers.eeg import check_disjoint, split_subjects

fractions = {"train": 0.7, "validation": 0.15, "test": 0.15}
splits = split_subjects(store, fractions, SEED)
check_disjoint(splits)  # silent: nobody is in two
for name, subjects in splits.items():
    print(f"{name:10s} {len(subjects)} subjects, {manifest.of(subjects)}")

# %% [markdown]
# What the program of the field notes did first: sort the files by name, and cut the list at 80 %. <!-- given: its rule --> Its authors
# [found a patient on both sides](https://github.com/Clarity-Digital-Twin/brain-go-brr-v2) and declared all their earlier runs invalid,
# which deserves respect. A sorted list looks safe, as the files of a patient stand together. One patient stands at the cut.

# %%
names = [stored.subject for stored in store.recordings]  # sorted by file
cut = round(0.8 * len(names))
with expect_error(StoreError, match="1 of .* subjects is in more than one"):
    check_disjoint({"train": names[:cut], "test": names[cut:]})

# %% [markdown]
# A list of windows that is fixed once makes a run repeatable, and leaks all the same if it does not name the patients. So in
# `helpers`, a manifest knows its subjects, training asks for subjects, and a split with a leak is an error. Whose a recording is
# comes from its name (`subject_of`). That can go wrong, too: in CHB-MIT, `chb21` and `chb01` are
# [the same girl](https://physionet.org/content/chbmit/1.0.0/). `subject_of` has been told; of another archive you have to find out.

# %% [markdown]
# ## What balancing does to a probability
# <a id="lab-base-rate"></a>
#
# The test is not balanced: in a clinic there are as many windows without a seizure as there are. Take the neighbor's answers by
# subject, and read two rates off them. Neither depends on how common seizures are.

# %%
answers = truth[found["subject"][0]]
sensitivity, false_alarms = answers[truth].mean(), answers[~truth].mean()
print(f"answers yes: {sensitivity:.2f} of windows with a seizure")
print(f"             {false_alarms:.2f} of windows without")
record(sensitivity=sensitivity, false_alarms=false_alarms)

# %% [markdown]
# **Guess:** it says yes. What is the chance that there is a seizure, in the balanced set? And on a patient with one seizure of a
# minute a day?


# %%
def precision(base_rate):
    true, false = sensitivity * base_rate, false_alarms * (1 - base_rate)
    return true / (true + false)


# %%
day = window_starts(24 * 3600 * 256)
with_seizure = np.mean(ictal_share([(40_000, 40_060)], day) > 0)
for rate in (truth.mean(), 0.1, 0.01, with_seizure):
    print(f"base rate {rate:7.2%}: a yes is right in {precision(rate):.1%}")
false_a_day = (1 - with_seizure) * len(day) * false_alarms
print(f"of {len(day):,} windows a day, {false_a_day:,.0f} are a wrong yes")
record(precision_balanced=100 * precision(truth.mean()), a_day=false_a_day)
record(precision_day=100 * precision(with_seizure), day_rate=100 * with_seizure)

# %% [markdown]
# From <span data-result="precision_balanced:.0f">59</span> % to <span data-result="precision_day:.1f">0.4</span> %, with not a bit changed in
# the classifier: <span data-result="day_rate:.2f">0.13</span> % of that day's windows have a seizure, and
# <span data-result="a_day:,.0f">1,503</span> of the others get a yes. (Windows that follow each other join to one alarm; chapter 12 counts alarms a day,
# and the mildest of its limits is ten.) A precision, an accuracy or
# an F1 computed on a balanced set describes the balancing. Three rules follow.
#
# - **Balance the training, never the test.** Score whole recordings, as chapter 12 does, in false alarms a day.
# - Choose thresholds on validation recordings that are whole, too.
# - A probability learned from balanced windows is too high. It can be put right, if both base rates are known.
#
# The third in miniature. Here are made-up counts of windows by score; for training, one in thirty without a seizure is kept.

# %%
seizure = np.array([5, 20, 75])  # windows with a low, middle, high score
without = np.array([2000, 900, 100])
kept = without / 30
learned = seizure / (seizure + kept)  # what a network would learn to say
real_share = seizure / (seizure + without)
print("learned:", learned.round(3), " real:", real_share.round(3))

# %%
factor = (seizure.sum() / without.sum()) / (seizure.sum() / kept.sum())
odds = learned / (1 - learned) * factor
corrected = odds / (1 + odds)
print("corrected:", corrected.round(3))
assert np.allclose(corrected, real_share)

# %% [markdown]
# Odds, p / (1 − p), times the ratio of the base rates' odds, and back. The order of the scores stays, so AUROC does too; what moves is
# what a threshold of one half means. (Exercise 10.3. The rule holds if what was left out was drawn at random within each class.)

# %% [markdown]
# ## What one window costs
# <a id="lab-reading"></a>
#
# The program of the field notes kept each recording as a compressed NPZ file, and read it for each window. Their notes found
# about five seconds a batch on a large GPU, and concluded that loading was not the cause. Measure it, with the real recording.

# %%
np.savez_compressed(lab / "absence.npz", signal=exact)
compressed, one = (lab / "absence.npz").stat().st_size, exact[:, :WINDOW]
print(f"one window as float32:      {one.nbytes / 1e6:6.1f} MB")
print(f"the recording, NPZ:         {compressed / 1e6:6.1f} MB")
print(f"the recording, store:       {signal.nbytes / 1e6:6.1f} MB")
print(f"all its windows as float32: {len(starts) * one.nbytes / 1e6:6.1f} MB")

# %% [markdown]
# **Guess:** how much of the NPZ file has to be read for a window from the middle? A file that counts will say.

# %%
import io


class Counting(io.FileIO):
    count = 0

    def read(self, size=-1):
        content = super().read(size)
        self.count += len(content)
        return content


# %%
def from_npz(start):
    with Counting(lab / "absence.npz") as file, np.load(file) as arrays:
        window = arrays["signal"][:, start : start + WINDOW]
    return window, file.count


# %%
at = int(starts[len(starts) // 2])
window, read = from_npz(at)
assert np.abs(window - store.window(real.id, at)).max() <= SCALE
print(f"read: {read / 1e6:.1f} MB, then unpacked to {exact.nbytes / 1e6:.1f}")

# %%
mapped = signal[:, at : at + WINDOW].nbytes
print(f"the window in the store: {mapped / 1e6:.2f} MB")
record(npz_megabytes=read / 1e6, bytes_ratio=read / mapped)

# %% [markdown]
# All of it. A compressed stream has no middle: to know what comes next, everything before has to be unpacked, and `np.load`
# unpacks the rest as well. Of a memory map, the system fetches the *pages* that are touched, of 4096 bytes each. Which are they?

# %%
file = lab / "store" / "recordings" / real.file
header = file.stat().st_size - signal.nbytes
rows = header + 2 * (np.arange(19) * real.n_samples + at)  # first bytes
first, last = rows // 4096, (rows + 2 * WINDOW - 1) // 4096
pages = int(np.sum(last - first + 1))
print(f"{pages} pages, {pages * 4096 / 1e6:.2f} MB in 19 places")

# %% [markdown]
# From a disk, the system fetches some more around each of the 19 places, in the hope that it will be wanted next (*read-ahead*;
# how much is a setting of the machine). It never has to fetch all, and there is nothing to unpack.

# %% [markdown]
# And the time. Both files are in the system's cache by now, so no disk takes part: this is the work of unpacking against
# that of copying, in CPU time.


# %%
def median_ms(function, places):
    took = []
    for place in places:
        began = time.process_time()
        function(int(place))
        took.append(1000 * (time.process_time() - began))
    return float(np.median(took))


npz_ms = median_ms(from_npz, rng.choice(starts, 3))
map_ms = median_ms(lambda at: store.window(real.id, at), rng.choice(starts, 99))
print(f"a window from the NPZ file {npz_ms:.0f} ms, from the map {map_ms:.2f}")
record(npz_ms=npz_ms, map_ms=map_ms, time_ratio=npz_ms / map_ms)

# %%
batch_seconds = 128 * npz_ms / 8 / 1000  # 128 windows, 8 workers, as they had
their_file = 310e9 / 3734 / read  # 310 GB in 3734 files, against ours
their_seconds = batch_seconds * their_file
print(f"a batch: {batch_seconds:.1f} s from files like ours,")
print(f"{their_seconds:.1f} s from files {their_file:.1f} times as large")
record(batch_seconds=batch_seconds, their_seconds=their_seconds)
record(their_file=their_file, their_megabytes=310e3 / 3734)

# %% [markdown]
# <span data-result="npz_ms:.0f">326</span> ms against <span data-result="map_ms:.2f">0.13</span> ms:
# <span data-result="time_ratio:.0f">2545</span> times as long, for <span data-result="bytes_ratio:.0f">56</span> times the bytes. A batch of 128
# windows takes 8 workers, as they had, <span data-result="batch_seconds:.1f">5.2</span> s for recordings like this one. By their own
# figures, 310 GB in 3734 files, theirs had <span data-result="their_megabytes:.0f">83</span> MB, <span data-result="their_file:.1f">2.5</span> times
# as many, and unpacking takes time in proportion: <span data-result="gpu/their_seconds:.1f">13.2</span> s on this machine, and
# <span data-result="cpu/their_seconds:.1f">6.5</span> s on one with other cores. So unpacking alone is enough for what they saw, with a GPU that waits. A later version of [their program](https://github.com/Clarity-Digital-Twin/brain-go-brr-v2) has memory maps.
#
# Compression is not the fault; the *unit* is. Whatever has to be unpacked as a whole should be about as large as what is asked for.

# %% [markdown]
# ## Windows on the device
# <a id="lab-device"></a>
#
# An hour of 19 channels in 16 bits takes <span data-result="megabytes_an_hour:.0f">35</span> MB, so a few hundred hours fit into the memory of a GPU.
# Then the copies between the two can go. All recordings go into one tensor, end to end, and each window is a start in it.

# %%
import torch

from helpers.detection import best_device

device = best_device()
signals = [
    torch.from_numpy(np.array(store.signal(r.id))) for r in store.recordings
]
everything = torch.cat(signals, dim=1).to(device)  # (19, samples), int16

# %%
lengths = [stored.n_samples for stored in store.recordings]
first = np.cumsum([0, *lengths[:-1]])  # where each recording begins
where = torch.from_numpy(first[manifest.recording] + manifest.start)
hours = everything.shape[1] / SFREQ / 3600
print(f"{hours:.1f} hours, {everything.nbytes / 1e6:.0f} MB on {device}")
record(megabytes_an_hour=everything.nbytes / 1e6 / hours)

# %% [markdown]
# `unfold` makes a view of *every* window there could be, one at each sample. **Guess:** how much memory does it take?

# %%
every = everything.unfold(1, WINDOW, 1).transpose(0, 1)
print(tuple(every.shape))  # (starts, 19, 15360)
print(f"it would be {every.numel() * 2 / 1e12:.1f} TB")
print("same memory:", every.data_ptr() == everything.data_ptr())

# %% [markdown]
# None: a view is a shape and *strides*, how far apart in memory the next start, channel and sample are. Start and sample both have stride 1,
# so windows lie over each other. Only what is picked is copied. (Some of these windows reach from one recording into the
# next. No start of the manifest does; that is what the manifest is for.)

# %%
where = where.to(device)


def gather(indices):
    picked = every[where[indices]]  # (batch, 19, 15360), int16
    return (picked.float() * SCALE).contiguous()


# %%
indices = torch.from_numpy(rng.integers(len(manifest), size=16)).to(device)
expected = store.batch([manifest[i] for i in indices.tolist()])
gathered = gather(indices)
print(tuple(gathered.shape), gathered.dtype, gathered.device.type)
assert torch.equal(gathered.cpu(), torch.from_numpy(expected))

# %% [markdown]
# The same windows, to the last bit. Now the rates: batches from the store, copied to the device, against batches gathered there.

# %% nbmake={"mock": {"BATCH": 8}}
BATCH = 64 if device == "cuda" else 16


# %%
def from_store(indices):
    batch = store.batch([manifest[i] for i in indices.tolist()])
    return torch.from_numpy(batch).to(device)


# %%
def windows_a_second(read):
    took = []
    for _ in range(12):
        indices = torch.from_numpy(rng.integers(len(manifest), size=BATCH))
        indices = indices.to(device) if read is gather else indices
        began = time.perf_counter()
        read(indices)
        if device == "cuda":
            torch.cuda.synchronize()  # it works in the background: wait
        took.append(time.perf_counter() - began)
    return BATCH / float(np.median(took[2:]))  # the first two warm up


# %%
rates = {read.__name__: windows_a_second(read) for read in (from_store, gather)}
for name, rate in rates.items():
    print(f"{name:12s} {rate:10,.0f} windows a second on {device}")
record(
    store_rate=rates["from_store"],
    gather_rate=rates["gather"],
    gather_gain=rates["gather"] / rates["from_store"],
)

# %% [markdown]
# On a GPU: <span data-result="gpu/store_rate:,.0f">1,510</span> windows a second from the store, through one core and over the bus, and
# <span data-result="gpu/gather_rate:,.0f">240,662</span> gathered on the device, <span data-result="gpu/gather_gain:.1f">159.3</span> times as many. On two CPU
# cores: <span data-result="cpu/store_rate:,.0f">8,126</span> from the store, <span data-result="cpu/gather_rate:,.0f">2,996</span>
# gathered, <span data-result="cpu/gather_gain:.1f">0.4</span> times as many. There it does not pay: no bus is saved, and where the store copies whole rows, a
# general gather looks up each of its samples. Without a GPU, read from the store.
#
# And with one? The detector itself decides. As long as a training step takes longer than its batch, the store with a worker or two keeps up and holds archives
# of any size; [chapter 11 measures both](11_training.ipynb#lab-loader), and trains from the store. Gathering is for small models, many passes, and data that fit.

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | a score that nobody reaches elsewhere | the split tears subjects apart | split by subject; toss the coin |
# | good in the paper, useless on a ward | balanced test set, so precision at a made-up base rate | score whole recordings |
# | "no partial windows" | marks missing, named otherwise, or outside of the recording | print the marks first |
# | probabilities near 1 all day | learned at another base rate | correct the odds, or choose thresholds on whole recordings |
# | the GPU waits, more workers do not help | each window unpacks a whole file | one array a recording, mapped |
# | seizures at the very end are never found | the rest after the last stride is dropped | a last window that ends with the recording |
# | two runs, two results | windows drawn without a seed, or from a stale list | seed, fingerprint |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **10.1** Write `kind_of(labels)`: `"none"`, `"partial"` or `"full"` for an array of zeros and ones, by the rule of this chapter.

# %%
from helpers.teaching import check, solution


def kind_of(labels): ...


check("10.1", kind_of)

# %% tags=["remove-input"]
solution("10.1")

# %% [markdown]
# **10.2** Write `leaked(train, test)`: two lists of file names like `aaaaaaaq_s006_t001.edf` (subject, session, token), as the TUH seizure
# corpus has them. Return the sorted list of subjects that are in both, each once.


# %%
def leaked(train, test): ...


check("10.2", leaked)

# %% tags=["remove-input"]
solution("10.2")

# %% [markdown]
# **10.3** Write `at_base_rate(probability, rate_in_training, rate_here)`: what a probability becomes where windows with a seizure make up
# `rate_here` of all, if it was learned where they made up `rate_in_training`. All three lie strictly between 0 and 1.


# %%
def at_base_rate(probability, rate_in_training, rate_here): ...


check("10.3", at_base_rate)

# %% tags=["remove-input"]
solution("10.3")

# %% [markdown]
# **10.4** Write `gather(signal, starts, n)`: from an array of shape `(channels, samples)`, the windows of `n` samples that begin at
# `starts`, as one array of shape `(windows, channels, n)`.


# %%
def gather(signal, starts, n): ...


check("10.4", gather)

# %% tags=["remove-input"]
solution("10.4")

# %% [markdown]
# **In a terminal**, make a data set of your own: `workbook synthetic eeg`, then `workbook prepare eeg`. Kill the second one with
# Ctrl+C in the middle, start it again, and read what it reports.
#
# ## Recap
#
# - One array a recording, 16 bits, mapped into memory. Windows are views: starts and a length.
# - A stride of 10 s shows each second to six windows. They are not six examples.
# - A partial window holds an edge of a seizure. Short seizures make no full ones.
# - Balancing shapes the training. It changes the base rate, and with it every probability and precision; the order of scores stays.
# - By window, a classifier is tested on what it was given; by recording, on people it knows; by subject, on strangers.
# - A compressed file is read whole for one window.
#
# ## What next
#
# [Chapter 11](11_training.ipynb) trains a detector on such a store, [chapter 12](12_scoring.ipynb) scores it. The [part page](../book/part_eeg.md) shows where you are.
