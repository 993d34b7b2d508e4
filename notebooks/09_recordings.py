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
# # Recordings
#
# A detector never sees a brain. It sees 19 rows of numbers, and between the electrode and those numbers lie a file
# format, a list of names, a reference, two filters, a change of rate and a division. Each can go wrong without an
# error. In this chapter you look at the signal before and after each of them.
#
# **You will**
#
# - read the header of an EDF file with your own eyes, and know how exact its samples are;
# - bring any spelling of the channels into one order, and see what the wrong order does: nothing visible;
# - find the hum of the mains, and learn how careless resampling turns it into a rhythm that the brain never had;
# - choose a filter by what it does to a seizure, not by its name;
# - break six files, and read what each error says; mend what can be mended, and have it said;
# - estimate an electrode that is missing, and measure what the estimate is worth;
# - read the same seizures from four kinds of file;
# - if you like, filter and resample a day of EEG on the device you have, and prove that the answer is MNE's.
#
# **You need** [chapter 00](00_start_here.ipynb), NumPy, and a rough idea of what a spectrum is. If you know MNE, you
# will recognize every call: the helpers of this book add names, checks and errors to MNE, and no new signal processing
# until the last section.
#
# Words that are new to you stand in the [glossary](../book/glossary.md). `record`, in some cells, keeps a number for the
# text: those with a dotted line were measured by this notebook.

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

# %%
import matplotlib.pyplot as plt
import mne
import numpy as np

from helpers.eeg import load
from helpers.teaching import COLORS, explore, record, style

raw = load("absence")
print(len(raw.ch_names), "channels,", raw.info["sfreq"], "Hz")
print(f"{raw.times[-1] / 60:.1f} minutes")

# %% [markdown]
# The recording of chapter 00: a routine EEG of one child, three marked absence seizures, from
# [eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/) by Christopher Lee-Messer (BSD-3-Clause).
#
# ## What an EDF file is
#
# Hospitals and archives hand out EEG as EDF (European Data Format, 1992) or EDF+ (2003, with marks). Write this
# recording as one, so that there is a file to look into. `Lab` gives a throwaway folder that goes away with this kernel.

# %%
from helpers.environment import Lab

lab = Lab()
path = lab / "absence.edf"
mne.export.export_raw(path, raw.copy().pick("eeg"), verbose="error")
print(f"{path.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# The first 256 bytes are plain text in fields of fixed width. No library is needed to read them.

# %%
content = path.read_bytes()
widths = {
    "version": 8,
    "patient": 80,
    "recording": 80,
    "start date": 8,
    "start time": 8,
    "header bytes": 8,
}
widths |= {"kind": 44, "records": 8, "seconds in each": 8, "signals": 4}
fields, place_of, at = {}, {}, 0
for name, width in widths.items():
    place_of[name] = slice(at, at + width)  # to change it, later
    fields[name] = content[place_of[name]].decode().strip()
    at += width
    print(f"{name:16s} {fields[name]}")

# %% [markdown]
# Three things to notice.
#
# - **People.** The patient field holds code, sex, birthdate and name; the recording field a date, an administration code and a
#   technician. Marks are free text, and often name somebody. All of that is in the open. Before you share a file, look at both
#   fields, the start date and every mark. `raw.anonymize()` replaces the names and shifts the dates, in memory: export the
#   result. It leaves the text of the marks as it is; that is yours to clean (`raw.annotations.rename`). (Here everything was
#   unknown. 1985 is EDF's way to say so.)
# - **Length** is *records × seconds in each*: a promise in the header that the rest of the file may not keep.
# - **EDF+C** says that the records follow each other without a gap. EDF+D would say that they may not. We come back to both.
#
# There are 26 signals: 25 channels, and one that holds the marks.
#
# Then each signal has its fields: all names first, of 16 bytes each, then all kinds of sensor, of 80, then all units, of
# 8. The next four, of 8 bytes, say how the stored integers become microvolts. Here are those of the first signal.

# %%
signals = int(fields["signals"])


def field(offset, width):  # of the first signal
    begin = 256 + offset * signals
    return content[begin : begin + width].decode().strip()


label, unit = field(0, 16), field(96, 8)
physical = float(field(104, 8)), float(field(112, 8))
digital = int(field(120, 8)), int(field(128, 8))
print(f"{label}: integers from {digital[0]} to {digital[1]}")
print(f"stand for {physical[0]} to {physical[1]} {unit}")

# %% [markdown]
# A sample is an integer of 16 bits, on a straight line between these two pairs.
#
# **Guess.** We wrote floating-point numbers and will read back integers times a step. By how many microvolts can a
# sample differ?

# %%
from helpers.eeg import read_recording

step = (physical[1] - physical[0]) / (digital[1] - digital[0])
again = read_recording(path)
error = (
    np.abs(again.get_data(picks=label) - raw.get_data(picks=label)).max() * 1e6
)
print(f"one step is {step:.4f} µV; the largest difference is {error:.4f} µV")

# %% [markdown]
# Half a step, as for any rounding. That is far below the noise of an amplifier. It is not always so: a channel whose range
# has to hold an electrode pop of ±100 mV has steps of 3 µV, and the small waves between pops become stairs.
#
# The marks came along, as EDF+ annotations:

# %%
from helpers.eeg import seizures

marked = seizures(again)
print(len(again.annotations), "marks; of these seizures:")
for onset, end in marked:
    print(f"  {onset:.1f} to {end:.1f} s")

# %% [markdown]
# ## Nineteen names, many spellings
# <a id="lab-order"></a>
#
# The 10-20 system names an electrode by its place: F for frontal, C central, P parietal, O occipital, T temporal; odd
# numbers left, even right, z on the midline. Four electrodes have been renamed since: T3, T4, T5 and T6 are T7, T8, P7
# and P8 in newer files. And many files decorate the names.
#
# **Guess** which of these seven the book's table of names knows, and as what.

# %%
from helpers.eeg import CANONICAL, canonical_name

spellings = ["EEG Fp1", "FP1-REF", "EEG T7-LE", "p8", "Fz ", "ECG X1", "FP1-F7"]
for spelling in spellings:
    print(f"{spelling!r:12s} {canonical_name(spelling)}")

# %% [markdown]
# This book keeps the older four. `FP1-F7` is a *bipolar* channel, the difference of two electrodes. It is not renamed to
# one of them, because it is neither.
#
# With the names settled there is still the order. This book uses that of SzCORE, the scoring that [chapter
# 12](12_scoring.ipynb) is about. The book began as an answer to the field notes of an earlier project, and that one used
# another order with the same 19 names:

# %%
theirs = "Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Cz Pz Fp2 F4 C4 P4 F8 T4 T6 O2".split()
print("same names:", set(theirs) == set(CANONICAL))
moved = [f"{a}/{b}" for a, b in zip(CANONICAL, theirs, strict=True) if a != b]
print(len(moved), "places differ, ours/theirs:", *moved)
record(places_that_differ=len(moved))

# %% [markdown]
# Feed a network that was trained on one order with the other, and
# <span data-result="places_that_differ">8</span> of 19 rows are someone else's. The shapes fit. Nothing raises. The scores
# get worse, and the search begins everywhere but here. So the order is part of the data: `pick_canonical` looks each channel
# up by name, raises where one is missing, and returns them in the order of `CANONICAL`, whatever the file had.
#
# That settles the file's side. A model from elsewhere has an order of its own, which no check of a file can see: keep the names
# with the weights, and bring the rows into that order (exercise 09.3).

# %% [markdown]
# ## A voltage is a difference
#
# Each channel of the file is the potential of an electrode minus that of a *reference* electrode somewhere. What the
# reference picks up, every channel shows. The *average reference* subtracts the mean of all 19 at each instant, which
# cancels what they share.
#
# It has a price. **Guess:** a blink is a large wave at Fp1 and Fp2, next to the eyes, and nearly nothing at the back of
# the head. What does the average reference do to O1, at the very back, during a blink?

# %%
from helpers.eeg import average_reference, pick_canonical

referential, eeg = pick_canonical(raw), average_reference(raw)
blink = slice(round(1716.2 * 200), round(1719.2 * 200))
seconds = eeg.times[blink]

# %% mystnb={"image": {"alt": "Two panels above each other, potential in microvolts against three seconds of time. Top: Fp1, next to the eyes, rises for a fifth of a second in a blink, to 390 microvolts with the file's reference and to 340 with the average reference. Bottom, on a finer scale: O1 at the back of the head shows no blink with the file's reference, and with the average reference a dip of some 70 microvolts at the same moment."}} tags=["hide-input"]
with style():
    figure, panels = plt.subplots(
        2, 1, figsize=(9, 4.4), sharex=True, layout="constrained"
    )
    for axes, name in zip(panels, ["Fp1", "O1"], strict=True):
        for recording, color, width, kind in [
            (referential, COLORS["quiet"], 2.2, "the file's reference"),
            (eeg, COLORS["accent"], 1.1, "average reference"),
        ]:
            trace = recording.get_data(picks=name)[0, blink] * 1e6
            axes.plot(
                seconds,
                trace - np.median(trace),
                color=color,
                linewidth=width,
                label=kind,
            )
        axes.set_ylabel(f"{name} (µV)")
    panels[0].legend(loc="upper right")
    panels[1].set_xlabel("time (s)")
    panels[0].set_title("A blink, and its echo at the back of the head")
plt.show()

# %% [markdown]
# The mean contains a nineteenth of every channel, so every channel loses the same 50 µV or so. Fp1 shrinks a little, and
# where there was no blink, one now stands upside down. (At O1 it reaches lower than 50 µV, because O1 was below zero
# already.) A reference far from all sources would be better; there is none on a head. What the average reference gives is
# comparability: recordings of the same electrodes become alike, whatever each was measured against, as long as no
# channel is broken.
#
# It also takes one dimension away, and that is easy to check.

# %%
common = eeg.get_data().sum(axis=0)
rank = np.linalg.matrix_rank(eeg.get_data()[:, :2000])
print(
    f"the sum is at most {np.abs(common).max() * 1e6:.0e} µV, the rank {rank}"
)

# %% [markdown]
# ## The hum of the mains
#
# **Guess** from the spectrum below: was this recorded in Europe (50 Hz) or in North America (60 Hz)?

# %%
from helpers.eeg import line_frequency

line = line_frequency(eeg)  # Hz; not shown yet
clean = eeg.copy().notch_filter(line, verbose="error")

# %% mystnb={"image": {"alt": "Power spectral density of Cz on a logarithmic axis against frequency from 1 to 99 hertz. The density falls from low to high frequencies. Before the notch a narrow peak stands at 60 hertz, more than ten times higher than its neighborhood; after the notch there is a narrow gap in its place, and the two curves are the same everywhere else."}} tags=["hide-input"]
from scipy.signal import welch

with style():
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for recording, color, width, kind in [
        (eeg, COLORS["marked"], 2.0, "before"),
        (clean, COLORS["accent"], 1.0, "after"),
    ]:
        frequencies, density = welch(
            recording.get_data(picks="Cz")[0] * 1e6, fs=200, nperseg=800
        )
        axes.semilogy(
            frequencies[4:-4],
            density[4:-4],
            color=color,
            linewidth=width,
            label=f"{kind} the notch",
        )
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel("power (µV² / Hz)")
    axes.set_title("Cz, the whole recording")
    axes.legend()
plt.show()

# %% [markdown]
# Sixty, which fits the United States, where it was recorded. (Each curve is a mean over pieces of 4 s: *Welch's method*.)
# `line_frequency` decides much as you did, but on the median channel, where the hum is weak: it compares the power at 50
# and at 60 Hz with the neighborhood, and says `None` where neither stands out. How high is the peak?

# %%
frequencies, density = welch(eeg.get_data(), fs=200, nperseg=800)  # (19, bins)
for hum in (50.0, line):
    around = np.median(density[:, np.abs(frequencies - hum) < 4], axis=1)
    ratios = density[:, frequencies == hum][:, 0] / around
    cz_ratio, usual = ratios[CANONICAL.index("Cz")], np.median(ratios)
    print(f"{hum:.0f} Hz: Cz {cz_ratio:.1f}, median channel {usual:.2f}")
record(line_ratio=cz_ratio, median_line_ratio=usual)

# %% [markdown]
# Cz shows it <span data-result="line_ratio:.0f">24</span> times above its neighborhood, the median channel
# <span data-result="median_line_ratio:.1f">1.5</span> times. A little cleaner, and the answer would be `None`, with the hum at Cz
# as it is. If you know where a recording was made, say so: `preprocess`, below, takes `line=50` or `line=60`.

# %% [markdown]
# ## A rhythm that the brain never had
#
# Sixty hertz is far from the few hertz of a seizure. Is the notch vanity, then? Watch what happens when somebody thins
# out the recording to save space, and takes every second sample. (We look at Cz, where the hum is worst.)
#
# At 100 Hz, no frequency above 50 Hz (half the rate, the *Nyquist frequency*) can be told from one below. **Guess** where
# the 60 Hz went.

# %%
thinned = eeg.get_data(picks="Cz")[0, ::2] * 1e6
slower = eeg.copy().resample(100, method="polyphase", verbose="error")
resampled = slower.get_data(picks="Cz")[0] * 1e6

# %% mystnb={"image": {"alt": "Power spectral density of Cz from 1 to 49 hertz on a logarithmic axis, for two ways to 100 samples a second. Where every second sample was taken, a sharp peak stands at 40 hertz, some ten times above its neighborhood, and the whole curve lies higher from 20 hertz on. Where the recording was resampled with a filter there is none. Both curves have a peak near 3 hertz."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for signal, color, width, kind in [
        (thinned, COLORS["marked"], 2.0, "every second sample"),
        (resampled, COLORS["accent"], 1.2, "resampled, with a filter"),
    ]:
        frequencies, density = welch(signal, fs=100, nperseg=400)
        axes.semilogy(
            frequencies[4:-4],
            density[4:-4],
            color=color,
            linewidth=width,
            label=kind,
        )
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel("power (µV² / Hz)")
    axes.set_title("Cz at 100 samples a second")
    axes.legend()
plt.show()

# %%
frequencies, folded = welch(thinned, fs=100, nperseg=400)
real = welch(resampled, fs=100, nperseg=400)[1]
ratio = (folded / real)[frequencies == 40][0]
print(f"at 40 Hz {ratio:.0f} times the power")
record(alias_ratio=ratio)

# %% [markdown]
# A clean 40 Hz rhythm over the top of the head (the *vertex*), with
# <span data-result="alias_ratio:.0f">13</span> times the power that is really there. It is the hum, folded down:
# 100 − 60 = 40. That is *aliasing*. (The peak near 3 Hz, in both curves, is real: it is the three seizures.) A notch at
# 40 Hz could take the line out again, and with it whatever the brain does at 40 Hz. And look at the gap between the curves from 25 to 45 Hz: muscle and noise from above
# 50 Hz were folded down too, lie under everything, and can never be told apart again. (Closer to 50 Hz part of the gap is the
# resampler's own filter, which begins to cut there.)
#
# A resampler filters first; `samples[::2]` does not. And the polyphase filter used here is short: of what lies just above half
# the new rate it lets some through. (MNE's default, by the FFT of the whole recording, is much steeper.) A hum there would
# survive in part. So the notch comes first, then the change of rate.

# %% [markdown]
# ## Choose a filter by what it does to a seizure
#
# The slow drift of electrodes is larger than most brain waves, so everything below some edge is taken out. Two questions
# decide how: where is the edge, and may the filter look into the future?
#
# - A *zero-phase* filter looks equally far to both sides of each sample. Waves stay where they are. It needs to know what
#   comes next, so it works on stored recordings, or with a delay.
# - A *causal* filter has the past only, as in a monitor at the bedside. One of low order, like the usual Butterworth, shifts
#   each frequency by another amount, so shapes change.
#
# The project behind the field notes filtered causally, with a Butterworth filter of third order, though it worked on
# whole files. Turn both controls and watch the spike-and-wave complexes. (Positive is up, as in physics; in most clinics
# it is down.) The third filter is the same Butterworth run forward and then backward, which cancels its shifts. **Guess
# first:** at which edge does each of them spoil the seizure?
#
# (An edge is not the same thing everywhere. A Butterworth passes half of the power at its edge, run both ways a quarter.
# MNE's default, an FIR filter, passes everything above its edge, and half of the amplitude some way below: at 0.25 Hz
# for an edge of 0.5 Hz, at 3 Hz for one of 4 Hz. FIR, *finite impulse response*, means a weighted sum of a fixed number
# of samples. The weights are its *taps*.)

# %%
from scipy.signal import butter, sosfilt, sosfiltfilt

onset = marked[2][0]
cz = clean.get_data(picks="Cz")[0] * 1e6
shown = slice(round((onset - 1.5) * 200), round((onset + 3.0) * 200))


def high_pass(kind, edge):
    if kind == "zero phase, FIR":
        return mne.filter.filter_data(cz, 200.0, edge, None, verbose="error")
    sections = butter(3, edge, "highpass", fs=200, output="sos")
    run = sosfilt if kind == "causal Butterworth" else sosfiltfilt
    return run(sections, cz)


# %% tags=["hide-input"]
def draw(kind, edge):
    with style():
        figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
        seconds = np.arange(len(cz))[shown] / 200
        axes.plot(
            seconds,
            cz[shown] - np.median(cz),
            color=COLORS["line"],
            linewidth=3,
            label="before",
        )
        axes.plot(
            seconds,
            high_pass(kind, edge)[shown],
            color=COLORS["accent"],
            linewidth=1.2,
            label="after",
        )
        axes.axvspan(
            onset, onset + 3.0, color=COLORS["marked"], alpha=0.12, linewidth=0
        )
        axes.set(
            ylim=(-420, 420),
            xlabel="time (s); the marked seizure is shaded",
            ylabel="Cz (µV)",
        )
        axes.set_title(f"High-pass at {edge:g} Hz, {kind}")
        axes.legend(loc="upper left", ncols=2)
    return figure


# %% tags=["hide-input"]
def describe(kind, edge):
    before, after = cz[shown], high_pass(kind, edge)[shown]
    alike = np.corrcoef(before, after)[0, 1]
    shifts = np.arange(-40, 41)  # samples of 5 ms
    before = before - before.mean()
    best = 5 * max(shifts, key=lambda k: np.dot(before, np.roll(after, k)))
    fit = (
        f"its waves lie {best} milliseconds earlier"
        if best
        else "nothing has moved"
    )
    if alike < 0:
        fit = "they no longer fit at any shift"
    return (
        "Cz, 4.5 seconds around the start of a seizure, before and after a "
        f"high-pass at {edge:g} Hz ({kind}). The correlation of the two is "
        f"{alike:.2f}; {fit}. "
        f"From top to bottom {np.ptp(after):.0f} microvolts are left."
    )


# %%
explore(
    draw,
    alt=describe,
    kind=(
        "filter",
        ["zero phase, FIR", "causal Butterworth", "Butterworth both ways"],
    ),
    edge=("edge (Hz)", [0.5, 1.0, 2.0, 4.0]),
)

# %% [markdown]
# With zero phase, in either form, the seizure stays what it is up to an edge of 2 Hz: the drift goes, the complexes do not. At
# 4 Hz the slow waves, half of the pattern that makes the diagnosis, are cut down.
#
# The causal filter is another matter. At 1 Hz the flanks lean. At 2 Hz the slow waves have moved while the spikes, too fast
# for this filter to touch, have not: the spike that stood near the crest now stands on the flank, on the way down to the trough. The same
# Butterworth run both ways leaves it at the crest, so it is not the edge that does it. How far does a wave of 3 Hz move?

# %%
from scipy.signal import sosfreqz

for edge in (0.1, 0.5, 1.0, 2.0):
    sections = butter(3, edge, "highpass", fs=200, output="sos")
    _, response = sosfreqz(sections, worN=[3.0], fs=200)
    early = np.angle(response[0]) / (2 * np.pi * 3) * 1000  # ms
    print(f"edge {edge:3.1f} Hz: a 3 Hz wave appears {early:4.0f} ms earlier")

# %% [markdown]
# "Earlier" is no mistake: a high-pass turns the phase forward, which for a lasting rhythm looks like a shift to the left.
# At 2 Hz that is a quarter of the wave's own length. A single event cannot come early, of course, so its shape pays.
#
# Zero phase has a price as well: what comes after a sample changes it. Here is a rhythm of 3 Hz and 100 µV that begins at
# 10 s, made for the purpose. How much of it leaks into the silence before, and how far back?

# %%
seconds = np.arange(4000) / 200
rhythm = np.where(seconds < 10, 0, 100 * np.sin(2 * np.pi * 3 * (seconds - 10)))
for edge in (0.5, 2.0):
    filtered = mne.filter.filter_data(
        rhythm, 200.0, edge, None, verbose="error"
    )
    leak = np.abs(filtered[seconds < 10])
    reach = 10 - seconds[np.flatnonzero(leak > leak.max() / 2)[0]]
    print(f"edge {edge:3.1f} Hz: up to {leak.max():.1f} µV before it begins,")
    print(f"             half of that is reached {reach:.2f} s before it")

# %% [markdown]
# At 2 Hz that is a reason not to believe an onset to the tenth of a second. At 0.5 Hz the leak begins earlier, but it is
# too low to be taken for a seizure.
#
# And a low edge gives a filter a long memory, of whatever kind: to separate 0.5 Hz from 0 it has to see several seconds.
# An FIR filter has a tap for each sample that it sees.

# %%
taps = mne.filter.create_filter(None, 200.0, 0.5, None, verbose="error")
symmetric = np.allclose(taps, taps[::-1])
print(f"{len(taps)} taps, {len(taps) / 200:.1f} s; symmetric: {symmetric}")

# %% [markdown]
# Half of that, at each end of what you filter, is partly invented. Filter the whole recording, then cut windows: never the
# other way round.

# %% [markdown]
# ## 256 samples a second
#
# The detector reads 256 Hz; this recording has 200. Raising the rate adds samples and no information: the amplifier recorded
# nothing above 100 Hz. **Guess:** what stands between 100 and 128 Hz afterwards?

# %%
high = clean.copy().filter(0.5, None, verbose="error")
final = high.copy().resample(256, method="polyphase", verbose="error")
print(f"{high.n_times} samples became {final.n_times}")

recorded = welch(high.get_data() * 1e6, fs=200, nperseg=800)[1]
recorded = np.median(recorded, axis=0)  # (401,), over the channels
density = welch(final.get_data() * 1e6, fs=256, nperseg=1024)[1]
density = np.median(density, axis=0)  # (513,)

# %% mystnb={"image": {"alt": "Median power spectral density of the channels on a logarithmic axis against frequency from 64 to 128 hertz. As recorded, the curve is nearly level and ends at 100 hertz. Resampled to 256 samples a second it leaves that curve at about 90 hertz and goes on beyond 100, falling ever more steeply, by seven powers of ten, to a dip at 117 hertz; from there to 128 it stays five powers of ten below where it began."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for spectrum, color, width, kind in [
        (recorded, COLORS["marked"], 2.4, "200 Hz, as recorded"),
        (density, COLORS["accent"], 1.2, "resampled to 256 Hz"),
    ]:
        axes.semilogy(
            np.arange(256, len(spectrum)) / 4,  # bins of a quarter of a Hz
            spectrum[256:],
            color=color,
            linewidth=width,
            label=kind,
        )
    axes.set(
        xlabel="frequency (Hz)",
        ylabel="power (µV² / Hz)",
        title="Above 100 Hz nothing was recorded",
    )
    axes.legend()
plt.show()

# %% [markdown]
# First a mirror image of what lies below 100 Hz, which the short filter of the resampler lets through; then next to nothing.
# A network that was trained on recordings with 256 Hz of their own may use what lies up there. Whoever compares data sets
# should ask what rate they were *recorded* at.

# %% [markdown]
# ## One scale for all
#
# Networks want numbers near one. The textbook way divides each channel by its standard deviation. **Guess:** what do many
# blinks do to the scale of Fp1, and so to the size of the brain waves in it?

# %%
samples = final.get_data() * 1e6
low, middle, high_quarter = np.percentile(samples, [25, 50, 75], axis=1)
robust = (
    high_quarter - low
) / 1.349  # the standard deviation, were the samples normal
ordinary = samples.std(axis=1)

# %% mystnb={"image": {"alt": "For each of the 19 channels, two marks on an axis in microvolts: the ordinary standard deviation and the robust one. The robust ones lie between some 12 and 25 microvolts on all channels. The ordinary ones lie a little above, but at Fp1 and Fp2, next to the eyes, more than twice as high."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
    places = np.arange(19)
    axes.vlines(places, robust, ordinary, color=COLORS["line"], linewidth=3)
    axes.plot(
        places,
        ordinary,
        "s",
        color=COLORS["marked"],
        label="standard deviation",
    )
    axes.plot(
        places,
        robust,
        "o",
        color=COLORS["accent"],
        label="robust, from the quartiles",
    )
    axes.set_xticks(places, CANONICAL)
    axes.set(
        ylim=(0, None),
        ylabel="scale (µV)",
        title="Blinks stretch the ordinary scale, not the robust one",
    )
    axes.legend()
plt.show()

# %% [markdown]
# Divided by its standard deviation, Fp1 would show brain waves at less than half the size that O1 shows them. Quartiles look
# at how much time is spent, not how high a blink is: blinks are tall and short, so they hardly move them.
#
# This scaling has costs too. How large one channel is beside another is gone, and the scale is that of the whole recording,
# its future included: fine for a file, impossible at the bedside.
#
# What is still too tall is clipped, at 20 robust standard deviations, so that one electrode pop cannot blind a network. Does
# that touch anything that matters?

# %%
scaled = (samples - middle[:, None]) / robust[:, None]
inside = np.zeros(scaled.shape[1], bool)
for onset, end in marked:
    inside[round(onset * 256) : round(end * 256)] = True

cut = np.abs(scaled) > 20
percent, percent_inside = 100 * cut.mean(), 100 * cut[:, inside].mean()
print(f"clipped: {percent:.3f} % of all samples")
print(f"         {percent_inside:.2f} % of those inside seizures")
record(clipped_percent=percent, clipped_percent_in_seizures=percent_inside)

# %% [markdown]
# It does: <span data-result="clipped_percent_in_seizures:.1f">0.6</span> % of the samples inside seizures are cut, against
# <span data-result="clipped_percent:.3f">0.017</span> % of all. Most of them on a few frontal channels. Here is one.

# %% mystnb={"image": {"alt": "Fz in robust standard deviations, during four seconds of the third seizure. The trace swings about three times a second between minus 22 and plus 30. Dashed lines at plus and minus 20 mark the clip. What lies outside is drawn in orange: the tips of three spikes, the top of one slow wave and the bottom of another."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.0), layout="constrained")
    piece = slice(round(1477.0 * 256), round(1481.0 * 256))
    seconds, fz = (
        np.arange(scaled.shape[1])[piece] / 256,
        scaled[CANONICAL.index("Fz"), piece],
    )
    axes.plot(
        seconds, fz, color=COLORS["marked"], linewidth=1.6, label="cut off"
    )
    axes.plot(
        seconds,
        np.clip(fz, -20, 20),
        color=COLORS["accent"],
        linewidth=1.4,
        label="kept",
    )
    for clip in (-20, 20):
        axes.axhline(clip, color=COLORS["ink"], linewidth=1, linestyle="--")
    axes.set(
        xlabel="time (s)",
        ylabel="robust SD",
        title="Fz in the third seizure, and the clip",
    )
    axes.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# Tips of three spikes are lost, and the top and bottom of two waves; the rhythm stays. For this kind of seizure that may do no harm. It is a decision, not a fact of
# nature, and now you know that somebody took it.

# %% [markdown]
# ## All of it in one call
#
# These were the steps of `preprocess`. The claim is checked, as always:

# %%
from helpers.eeg import preprocess

by_hand = np.clip(scaled, -20, 20).astype(np.float32)
at_once = preprocess(raw)
print(at_once.shape, at_once.dtype)
print("largest difference:", np.abs(by_hand - at_once).max())
assert np.allclose(by_hand, at_once, atol=1e-4)

# %% [markdown]
# It asks for the decisions that this chapter made. `line` is 50, 60, `"detect"` or `None` (no notch). `l_freq` and `h_freq` are
# the edges, 0.5 and 120 Hz; the upper one falls away here, where 100 Hz is the end. And `causal=True` takes the causal filters,
# which a detector at a bedside would have to. **Guess:** at 0.5 Hz the explorer above showed little harm. By how much do
# the two outputs differ, on a scale on which one is the usual size of the EEG?

# %%
causal = preprocess(raw, causal=True)
apart = np.abs(causal - at_once).mean()
print(f"mean difference {apart:.2f}")
record(causal_difference=apart)

# %% [markdown]
# As much as the EEG is large. The spike-and-wave complexes nearly coincide, as the explorer showed; what is slower does
# not, since a filter shifts most near its edge. Neither output is wrong. They are two signals, and a detector that learned
# from one should not be handed the other: the option belongs to the model, like the order of the channels. (It does not
# make a bedside detector by itself: scale and hum still come from the whole recording.)

# %% [markdown]
# ## Six broken files
#
# Archives hold thousands of recordings, and some are broken. What matters is that a broken one says so. Here each fault is
# made for real, from the good file above; `expect_error` asserts that the error comes, and shows it.
#
# **One: an error page, saved as EDF.** It happens with every download that needed a login.

# %%
from helpers.eeg import RecordingError
from helpers.environment import expect_error

page = lab.write("page.edf", "<!doctype html><title>401 Unauthorized</title>")
with expect_error(RecordingError, match="this is no EDF"):
    read_recording(page)

# %% [markdown]
# **Two: half a file**, from a copy that stopped. **Guess** what MNE does with it, before you run the cell.

# %%
half = lab.write("half.edf", content[: len(content) // 2])
shortened = mne.io.read_raw_edf(half, verbose="error")
print(
    f"MNE: {shortened.times[-1] / 60:.1f} of {again.times[-1] / 60:.1f} minutes"
)
print(f"marks: {len(shortened.annotations)} of {len(again.annotations)}")
print(f"seizures: {len(seizures(shortened))} of {len(marked)}")

# %% [markdown]
# MNE reads what is there. It warns ("number of records from the header does not match the file size"), and a batch job with
# `verbose="error"`, as here, never shows it. A recorder that is still writing, or was switched off, leaves a file of the same
# kind, so that is a fair choice for a library. For a data set it is a trap. The three seizures were in the second half, and
# what remains looks like a recording without any: a wrong label, made by a broken copy.
#
# `read_recording` compares the size of the file with the promise in its header.

# %%
with expect_error(
    RecordingError, match="truncated: the header promises 1811 records"
):
    read_recording(half)

# %% [markdown]
# **Three: a bipolar montage.** Three electrodes are in this one only as two differences, and two differences do not
# make three potentials.

# %%
bipolar = mne.set_bipolar_reference(
    referential, ["Fp1", "F7"], ["F7", "T3"], verbose="error"
)
with expect_error(RecordingError, match="It is bipolar"):
    preprocess(bipolar)

# %% [markdown]
# **Four: a dead channel.** Its input is switched off, shorted or saturated, and it records a constant. **Guess** what the
# average reference and the scaling would make of it, if nobody looked.

# %%
dead = referential.copy().load_data()
dead.apply_function(lambda trace: np.full_like(trace, 1e-6), picks=["T5"])
with expect_error(RecordingError, match="channel T5: is flat"):
    preprocess(dead)

# %% [markdown]
# No NaN, nothing to see: minus the mean of the other 18, scaled like any channel, would have passed for EEG. So it is
# refused before the reference is taken.

# %% [markdown]
# **Five: too short.** The filter is almost seven seconds long; `preprocess` asks for ten.

# %%
with expect_error(
    RecordingError, match=r"filtering from 0\.5 Hz needs at least 10 s"
):
    preprocess(referential.copy().crop(0, 8))

# %% [markdown]
# **Six: a gap.** Somebody paused the machine for five minutes. The file says EDF+D, *discontinuous*, and each record carries its
# own time. MNE reads the records as one piece, without a word about the gap. The marks keep their times, the samples move up,
# and every label behind the gap is five minutes off. The only hint, silenced here: the last marks now lie behind the end, and
# MNE warns that it omitted them.


# %%
def put(header, name, text):
    place = place_of[name]
    header[place] = text.ljust(place.stop - place.start).encode()


records, begin = int(fields["records"]), int(fields["header bytes"])
size = (len(content) - begin) // records  # bytes of a record, which is 1 s
header, body = bytearray(content[:begin]), content[begin:]
put(header, "kind", "EDF+D")
put(header, "records", str(records - 300))
body = body[: 600 * size] + body[900 * size :]
paused = lab.write("paused.edf", bytes(header) + body)

# %%
one_piece = mne.io.read_raw_edf(paused, verbose="error")
print(f"MNE: {one_piece.times[-1]:.0f} s in one piece")
a, b = marked[0]
print(f"the first seizure's mark is at {seizures(one_piece)[0][0]:.0f} s")
wave = again.get_data(tmin=a, tmax=b)
moved = one_piece.get_data(tmin=a - 300, tmax=b - 300)
print(f"its samples are at {a - 300:.0f} s: {np.array_equal(wave, moved)}")
with expect_error(RecordingError, match="has a gap of 300 s after 600 s"):
    read_recording(paused)

# %% [markdown]
# ## A header that can be repaired
#
# Not every odd file is broken. Some programs write what the standard forbids and a person reads without a doubt. Here the
# good file gets three such fields, in the places that we kept from above. The units stand behind all names and kinds of
# sensor.

# %%
at = 256 + (16 + 80) * signals
place_of["unit"] = slice(at, at + 8)  # of the first signal, Fp1
odd = bytearray(content)
put(odd, "start time", "09:01:17")  # EDF writes 09.01.17
put(odd, "records", "-1")  # not counted, the machine was running
put(odd, "unit", "microV")  # EDF writes uV
odd_file = lab.write("odd.edf", bytes(odd))

# %% [markdown]
# **Guess** what MNE makes of the start and of the unit.

# %%
from helpers.eeg import repairs

by_mne_alone = mne.io.read_raw_edf(odd_file, verbose="error")
mended = read_recording(odd_file)
for reader, recording in {"MNE": by_mne_alone, "ours": mended}.items():
    volts = np.abs(recording.get_data(picks="EEG Fp1")).max()
    start = recording.info["meas_date"].time()
    print(f"{reader:4s} starts at {start}, Fp1 up to {volts:.4g} V")
for change in repairs(mended):
    print("repaired:", change)

# %% [markdown]
# A start that it cannot read is midnight, and a unit that it does not know is volts: over a thousand of them, on a scalp.
# Neither raises. (The records it counts, as we do.) `read_recording` reads such a field in the one way that makes sense, in
# memory: the file stays as it is. What it did stays with the recording, through copies and crops, and `repairs` tells it.
# Where two readings make sense, it does not choose:

# %%
put(odd, "unit", "div")  # somebody's divisions
with expect_error(RecordingError, match="expected uV, mV or V"):
    read_recording(lab.write("unit.edf", bytes(odd)))

# %% [markdown]
# An unknown scale, electrodes of different rates, fewer samples than promised: never repaired. A wrong guess there is a
# wave of the wrong height or a label at the wrong second, in a file that now looks sound.

# %% [markdown]
# ## A missing electrode
#
# T3 fell off. A network wants 19 rows, so something will stand there: zeros, a mean, an estimate. Who decides that?

# %%
from helpers.eeg import interpolate_missing

fallen = referential.copy().drop_channels(["T3"])
with expect_error(RecordingError, match="missing: T3"):
    preprocess(fallen)

# %%
filled = interpolate_missing(fallen)
print(repairs(filled)[0])
rank = np.linalg.matrix_rank(filled.get_data()[:, :2000])
print(f"{len(filled.ch_names)} channels, rank {rank}")

# %% [markdown]
# You do: nothing is put there until you ask. `interpolate_missing` lays a smooth surface through the other 18 (spherical splines, by MNE) and reads
# it off where T3 should be. Nineteen rows, and 18 that are independent: the new one is a weighted sum of the others.
#
# We have all 19, so we can take each away in turn, estimate it, and look. **Guess:** in the seizures, where is the estimate
# worst: at the edge of the head, in the middle, or elsewhere? How large is its error beside the signal?

# %%
stretch = high.copy().crop(1370, 1490)  # all three seizures
truth = stretch.get_data() * 1e6  # (19, samples), µV
estimate = np.empty_like(truth)
for row, name in enumerate(CANONICAL):
    others = interpolate_missing(stretch.copy().drop_channels([name]))
    estimate[row] = others.get_data(picks=name)[0] * 1e6

moments = 1370 + np.arange(truth.shape[1]) / 200
ictal = np.any([(a <= moments) & (moments < b) for a, b in marked], axis=0)


def rms(signal):  # (19, samples) to (19,)
    return np.sqrt(np.mean(signal**2, axis=1))


off = rms((estimate - truth)[:, ictal]) / rms(truth[:, ictal])
off_between = rms((estimate - truth)[:, ~ictal]) / rms(truth[:, ~ictal])

# %% mystnb={"image": {"alt": "Top: potential in microvolts during three and a half seconds of the third seizure, recorded and estimated from the other electrodes, for T3 and C3. At T3 the two nearly coincide in waves of plus and minus 250 microvolts. At C3 the recorded waves are smaller, and the estimate departs from them again and again, by 100 microvolts and more. Bottom: error over signal for each of the 19 electrodes, in the seizures and between them. In the seizures it is 0.3 to 0.5 for most, 0.6 to 0.8 at F7, T3, F8 and T4, 0.9 at C4 and 1.1 at C3, above the dashed line at 1."}} tags=["hide-input"]
with style():
    figure, panels = plt.subplot_mosaic(
        [["T3", "C3"], ["all", "all"]], figsize=(9, 5.4), layout="constrained"
    )
    piece = (moments > onset - 0.5) & (moments < onset + 3)
    for name in ("T3", "C3"):
        row = CANONICAL.index(name)
        for trace, color, width, kind in [
            (truth, COLORS["marked"], 2.0, "recorded"),
            (estimate, COLORS["accent"], 1.0, "estimated"),
        ]:
            panels[name].plot(
                moments[piece],
                trace[row, piece],
                color=color,
                linewidth=width,
                label=kind,
            )
        panels[name].set(
            xlabel="time (s)",
            xticks=[1477, 1478, 1479],
            ylim=(-400, 400),
            title=name,
        )
    panels["T3"].set_ylabel("potential (µV)")
    panels["T3"].legend(loc="upper left", ncols=2)
    bottom = panels["all"]
    for share, color, marker, kind in [
        (off, COLORS["marked"], "s", "in the seizures"),
        (off_between, COLORS["accent"], "o", "between them"),
    ]:
        bottom.plot(places, share, marker, color=color, label=kind)
    bottom.axhline(1, color=COLORS["ink"], linewidth=1, linestyle="--")
    bottom.set_xticks(places, CANONICAL)
    bottom.set(ylim=(0, None), ylabel="error / signal (RMS)")
    bottom.legend(ncols=2)
plt.show()

# %%
best, t3, worst = (CANONICAL.index(name) for name in ("Pz", "T3", "C3"))
for row in (best, t3, worst):
    size = rms(truth[:, ictal])[row]
    print(f"{CANONICAL[row]}: error {off[row]:.2f} of {size:.0f} µV")
assert {best, worst} == {off.argmin(), off.argmax()}
record(pz_off=off[best], t3_off=off[t3], c3_off=off[worst])

# %% [markdown]
# The error is <span data-result="pz_off:.1f">0.3</span> of the signal at best, at Pz, and
# <span data-result="t3_off:.1f">0.6</span> at T3. At C3 it is larger than the signal
# (<span data-result="c3_off:.1f">1.1</span>): a row of zeros would have been nearer to the truth. C3 has neighbors on all
# sides; but its own waves are among the smallest and those in front of it among the largest, and no smooth surface knows that.
#
# And these seizures are the kindest case, everywhere at once. A *focal* seizure begins in one small region. What T3 alone
# sees of it is in no other row, so it is not in any sum of them: no method brings it back. The row that stands there instead is
# smooth, in step with its neighbors, and looks like EEG. Hence only when asked, four electrodes at the most, and noted.
#
# Do you object? In this test one could have cheated. `high` was referenced with T3 still in it, so the 19 rows add up to
# zero, and T3 is minus the sum of the other 18, up to rounding. The splines do not know that. And an electrode that fell
# off before the reference was taken offers no such thing. So it is in `fallen`, and in `prepare` below: first the
# estimate, then the reference.
#
# A channel that is there and useless counts as missing once you list it in `raw.info["bads"]`. A bipolar recording goes the
# same way as far as its pairs hang together: those of [CHB-MIT](https://physionet.org/content/chbmit/1.0.0/), a public archive,
# give 16 electrodes against their average. Fz, Cz and Pz hang together by themselves, and how high they lie has to be estimated.

# %% [markdown]
# ## Marks from elsewhere
#
# Here the marks are in the recording. Other archives put them beside it, each in its own way. These are our three seizures
# as three of them would write them.

# %%
rows = [f"{a:.3f}\t{b - a:.3f}\tsz" for a, b in marked]
szcore = "\n".join(["onset\tduration\teventType", *rows])

rows = [f"TERM,{a:.4f},{b:.4f},seiz,1.0" for a, b in marked]
columns = "channel,start_time,stop_time,label,confidence"
tusz = "\n".join([columns, *rows])

chbmit = "File Name: night.edf\nNumber of Seizures in File: 3\n"
for number, (a, b) in enumerate(marked, 1):
    chbmit += f"Seizure {number} Start Time: {a:.0f} seconds\n"
    chbmit += f"Seizure {number} End Time: {b:.0f} seconds\n"
print(szcore, tusz, chbmit[:120] + "…", sep="\n\n")

# %% [markdown]
# `read_annotations` reads all of them, and the marks in an EDF+. **Guess:** three of the four will agree to a millisecond. How far
# off is the other?

# %%
from helpers.eeg import read_annotations

beside = {"events.tsv": szcore, "night.csv_bi": tusz, "a-summary.txt": chbmit}
files = [lab.write(f"marks/{name}", text) for name, text in beside.items()]
for file in [path, *files]:
    spans = read_annotations(file)
    total = sum(end - begin for begin, end in spans)
    listed = ", ".join(f"{a:.2f} to {b:.2f}" for a, b in spans)
    print(f"{file.name:13s} {listed}: {total:.2f} s")

# %% [markdown]
# CHB-MIT counts whole seconds. The totals differ by one, in sixteen: little for a seizure of a minute, much for one of four.
#
# And the second number is a *duration* in one file and an *end* in another. Mistaken for each other, the first seizure lasts 23
# minutes, or ends before it begins; the reader checks for both. TUSZ also marks each channel by itself, in a `.csv`:

# %%
rows = ["FP1-F7,1380.5,1383.0,absz,1", "F7-T3,1381.5,1384.2,absz,1"]
rows += ["T3-T5,1370.0,1390.0,bckg,1"]
one_by_one = lab.write("marks/night.csv", "\n".join([columns, *rows]))
print(read_annotations(one_by_one))

# %% [markdown]
# One seizure, on two channels. Who counts rows finds two, and who adds up their lengths gets a longer one; exercise 09.4 is about
# that. The third row is background. And a label that no list knows?

# %%
typo = lab.write("marks/typo.csv_bi", tusz.replace("seiz", "siez", 1))
with expect_error(RecordingError, match="line 2: the label 'siez' is unknown"):
    read_annotations(typo)

# %% [markdown]
# Passed over, it would be one seizure fewer, and nothing later could tell. The reader can be so strict because these
# vocabularies are *closed*: TUSZ and SzCORE say which labels there are. The marks inside an EDF+ are *free text*, and so
# is `trial_type` in a BIDS file. There anybody may write anything, and most of it is about something else. **Guess** what
# becomes of our seizures if the clinic calls them by their kind.

# %%
from helpers.eeg import seizures_of
from helpers.eeg.marks import SEIZURE_LABELS

remarks = again.copy()
remarks.annotations.rename({"seizure": "absence"})
print("count as seizures:", *sorted(SEIZURE_LABELS), "and sz_…")
print(len(remarks.annotations), "marks; seizures:", seizures_of(remarks))

# %% [markdown]
# An empty list, and no error. `seizures_of(recording)`, which looks inside and beside, raises only where there are no
# annotations at all: that is not the same as annotations that say *none*. But in free text a word that it does not know
# is a remark, and a file with nothing but remarks counts as one without seizures, in `prepare` too. So look at the words
# of an archive first, `set(raw.annotations.description)`. Rename those that mean a seizure, or put the seizures of
# `night.edf` into a `night.tsv` beside it.

# %% [markdown]
# ## A folder of files
#
# An archive is a folder, and whoever works through it wants two things: that file 17 does not stop the other thousand, and
# to be told about file 17. `prepare` does for each recording what this chapter did. The folder of this lab is an archive by
# now. One more joins it, in which T3 goes by a name that nobody knows:

# %%
renamed = content.replace(b"EEG T3 ", b"X8     ", 1)
lab.write("x8.edf", renamed)
print(*sorted(file.name for file in lab.folder.glob("*.edf")))

# %% [markdown]
# **Guess** how many of the seven come through, if we allow interpolation.

# %%
from helpers.eeg import prepare

report = prepare(lab.folder, lab / "store", interpolate=True)
for line in lab.hide(str(report)).splitlines():
    print(line[:100])

# %% [markdown]
# Three: the good one, and two with a note of what was done to them. The others are listed with their reasons (cut here after
# 100 characters), and stopped nobody. Without `interpolate`, `x8.edf` would be among them. In a terminal this is
# `workbook prepare FOLDER --interpolate`. What is in such a store is the beginning of [chapter 10](10_windows.ipynb).

# %% [markdown]
# ## A day on one device (optional)
#
# This section is about speed on a GPU, not about recordings. You can leave it out: only the last row of the table and of
# the recap need it.
#
# One patient in a monitoring unit gives 24 hours a day. Here the filters run where your tensors are. There is no recording
# of a day in this book, so this one is repeated: the load is real, the day is not.

# %% nbmake={"mock": {"HOURS": 0.5}}
import torch

from helpers.detection import best_device

device = best_device()
HOURS = 24 if device == "cuda" else 1  # without a GPU an hour has to do

# %%
repeats = round(HOURS * 2)
day = np.tile(
    eeg.get_data()[:, : 1800 * 200] * 1e6, repeats
)  # (19, hours · 3600 · 200), µV
gigabytes = day.nbytes / 2 / 1e9  # as float32
print(f"{day.shape[1] / 200 / 3600:g} hours, {gigabytes:.2f} GB, on {device}")

# %% [markdown]
# First the reference: MNE, in double precision on one core of the CPU, high-pass and resampling. Everything is timed alike:
# several runs, all of them printed, and their median. On a GPU the first one also pays for plans and memory.

# %%
import time


def timed(step, repeats, *arguments):
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = step(*arguments)
        if device == "cuda":
            torch.cuda.synchronize()  # it works in the background: wait
        took.append(time.perf_counter() - began)
    print("runs:", *(f"{seconds:.3f}" for seconds in took), "s")
    return result, float(np.median(took))


# %%
def by_mne(signal):
    high = mne.filter.filter_data(signal, 200.0, 0.5, None, verbose="error")
    return mne.filter.resample(
        high, 256, 200, method="polyphase", verbose="error"
    )


expected, mne_seconds = timed(by_mne, 3, day)

# %% [markdown]
# Both steps are convolutions. Filtering is one with the taps above; long ones are done through the FFT, block by block.
#
# Resampling by 256/200 = 32/25 is one, too, once you see it: the new samples fall on 32 different positions between the
# old ones, so there are 32 short filters, one for each. They are a layer of a convolutional network, with 32 output
# channels. **Guess** its stride; and, if each new sample looks at ten old ones to either side, how many weights each
# channel needs.

# %%
from helpers.eeg.torch_filters import polyphase_bank

bank, padding = polyphase_bank(32, 25)
print("one Conv1d, with weights of shape", tuple(bank.shape))

# %% [markdown]
# The stride is 25: after 32 new samples, 25 old ones have passed. The weights are 45 and not 21, because all 32 positions
# read the same stretch of old samples, and they lie across 24 more.

# %%
from helpers.eeg.torch_filters import resample_polyphase, zero_phase_fir


def filter_and_resample(signal):
    return resample_polyphase(zero_phase_fir(signal, taps), 32, 25)


# %%
on_device, copy_seconds = timed(
    lambda: torch.from_numpy(day).to(device, torch.float32), 4
)
result, device_seconds = timed(filter_and_resample, 8, on_device)
record(hours=HOURS, mne_seconds=mne_seconds)
record(copy_seconds=copy_seconds, device_seconds=device_seconds)

# %% [markdown]
# Fast is nothing without the same answer, float32 here against float64 in MNE:

# %%
pairs = zip(result.cpu().numpy(), expected, strict=True)  # by channel
difference = max(np.abs(ours - theirs).max() for ours, theirs in pairs)
difference /= np.abs(expected).max()
print(f"largest difference {difference:.1e} of the largest value")
assert difference < 1e-5
record(relative_difference=difference, speedup=mne_seconds / device_seconds)
record(speedup_with_copy=mne_seconds / (device_seconds + copy_seconds))

# %% [markdown]
# On the machine that stored this page, <span data-result="hours:g">24</span> hours took MNE
# <span data-result="mne_seconds:.0f">23</span> s on one core in float64, and <span data-result="device_seconds:.3f">0.045</span> s on
# the GPU in float32: <span data-result="speedup:.0f">502</span> times faster, or
# <span data-result="speedup_with_copy:.0f">55</span> times with the copy of <span data-result="copy_seconds:.2f">0.37</span> s, which
# costs more than the work. Data that are on a GPU should stay there. On two CPU cores the same code took
# <span data-result="cpu/device_seconds:.2f">0.20</span> s for <span data-result="cpu/hours:g">1</span> hour, MNE on one of them
# <span data-result="cpu/mne_seconds:.2f">0.95</span> s. (MNE can filter on a GPU too, `n_jobs="cuda"`; we did not measure that.)
#
# One trap lies in wait on recent NVIDIA GPUs. PyTorch lets cuDNN compute float32 *convolutions* in TF32, which keeps 10
# bits after the point instead of 23, and a resampler that is written as a convolution is a convolution.
# `resample_polyphase` forbids it. This cell allows it, and runs on a GPU only. **Guess:** which error does a rounding to 10
# bits make?

# %% tags=["lane:gpu", "skip-execution"]
errors = {}
for rate in (
    200,
    1000,
):  # the same samples, taken as a recording at either rate
    wide, step = polyphase_bank(256, rate)[0], rate // np.gcd(rate, 256)
    piece = on_device[:, None, : 600 * 1000]
    exact = torch.nn.functional.conv1d(piece.double().cpu(), wide, stride=step)
    for precision in ("ieee", "tf32"):
        torch.backends.cudnn.conv.fp32_precision = precision  # torch >= 2.9
        output = torch.nn.functional.conv1d(piece, wide.to(piece), stride=step)
        error = float((output.cpu() - exact).abs().max() / exact.abs().max())
        print(f"{rate:4d} to 256 Hz, {precision}: {error:.1e}")
        errors[rate, precision] = error
torch.backends.cudnn.conv.fp32_precision = "ieee"
record(tf32_error=errors[1000, "tf32"], half_a_bit=2**-11)

# %% [markdown]
# Half a unit of the tenth bit is 2⁻¹¹, about <span data-result="gpu/half_a_bit:.0e">5e-04</span>, and that is what came, at one rate,
# and not at the other: cuDNN takes TF32 for some shapes and not for others. At 200 Hz a comparison of this size passes by
# luck, at 1000 it fails. Where the drift is still in the signal, 1000 µV of it make an error of half a microvolt: too much for a
# filter that has to leave waves of a few microvolts. Nothing warns you; you measure.

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | a sharp rhythm at a frequency that `alias` (exercise 09.2) gives for 50 or 60 Hz | mains hum, folded down by thinning out | resample with a filter, from the original file |
# | scores drop on a new archive, no error | another channel order, or another reference | take channels by name, re-reference |
# | a patient without seizures who should have some | a truncated file, read in silence | compare the size with the header: `read_recording` |
# | marks that lie beside what they mark | a file with gaps, read as one piece | refuse it: `read_recording` |
# | slow waves with leaning flanks | a causal filter | zero phase, on the whole recording |
# | amplitudes a million times too large, or all recordings begin at midnight | a header field that the reader does not know, and takes for something | `read_recording`, then look at `repairs` |
# | a smooth channel, in step with its neighbors | it was interpolated, maybe by whoever made the archive | ask; here `repairs` says so |
# | fewer seizures than the archive claims, or more | labels passed over, or rows counted where channels overlap | one reader that refuses unknown labels, `read_annotations`; of free text, read the words yourself |
# | a channel that mirrors all others | a dead input, seen through the average reference | look before you reference: `average_reference` refuses it |
# | another answer on another GPU, or at another rate | TF32 in a convolution | forbid it where exactness counts |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **09.1** Write `physical_value(digital, digital_range, physical_range)`: the value in µV of a stored integer. Both ranges are
# pairs `(minimum, maximum)`, as in the header; `digital` may be a NumPy array, with integers of 16 bits as in the file. Mind
# what 16 bits can hold while you compute.

# %%
from helpers.teaching import check, solution


def physical_value(digital, digital_range, physical_range): ...


check("09.1", physical_value)

# %% tags=["remove-input"]
solution("09.1")

# %% [markdown]
# **09.2** Write `alias(frequency, rate)`: at which frequency, from 0 to half the rate, a pure tone of `frequency` Hz appears
# after sampling at `rate` Hz without a filter. Test yourself on the 60 Hz above, then on 170 Hz at 100 samples a second.


# %%
def alias(frequency, rate): ...


check("09.2", alias)

# %% tags=["remove-input"]
solution("09.2")

# %% [markdown]
# **09.3** Write `in_order(samples, names, order)`: rows of `samples` (an array of shape `(channels, time)`), whose channels
# are called `names`, in the order of `order`. Names match as they are; channels that `order` does not have are left out. Raise
# a `ValueError` that names what is missing if a channel of `order` is not there. The input must not change.


# %%
def in_order(samples, names, order): ...


check("09.3", in_order)

# %% tags=["remove-input"]
solution("09.3")

# %% [markdown]
# **09.4** Write `joined(spans)`: from a list of `(onset, end)` in seconds, in any order, the list of spans without overlap,
# in order of onset. Spans that overlap or touch become one. The input must not change.


# %%
def joined(spans): ...


check("09.4", joined)

# %% tags=["remove-input"]
solution("09.4")

# %% [markdown]
# **In a terminal**, draw an EDF file with `workbook synthetic drawn --subjects 1 --minutes 3`, cut it with
# `head -c 100000 drawn/sub-01/eeg/*.edf > cut.edf`, and run `workbook detect cut.edf`. Then open it with the viewer you
# trust most. Does that one tell you?
#
# ## Recap
#
# - An EDF sample is an integer on a line between two pairs of numbers in the header; half a step is its precision.
# - Names, order and reference are data. A wrong order raises nothing.
# - Aliasing cannot be undone. Notch and filter, then change the rate, on the whole recording, before cutting.
# - Choose an edge and a phase by looking at a seizure. Zero phase, 0.5 Hz is this book's choice; it leaks a little backward.
# - Scale by quartiles; know what the clip cuts.
# - A broken file has to say so. MNE is forgiving by design; a data set must not be.
# - Repair what has one reading, and keep a note of it. Refuse what has two.
# - An interpolated channel has the shape of a channel, and nothing that the others did not have.
# - The same seizure is written in many ways. In a closed vocabulary an unknown label is an error; in free text it is a remark. No
#   mark at all is not a *none*.
# - A filter on a GPU agrees with MNE to the rounding of float32, as long as nobody lets TF32 in.
#
# ## What next
#
# [Chapter 10](10_windows.ipynb) cuts windows, gives them labels and keeps patients apart, [chapter 11](11_training.ipynb)
# trains on them, and [chapter 12](12_scoring.ipynb) comes back to what marks and false alarms are worth. The [part
# page](../book/part_eeg.md) shows where you are.
