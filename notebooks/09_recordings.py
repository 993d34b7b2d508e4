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
# format, a list of names, a reference, three filters, a change of rate and a division. Each can go wrong without an
# error. In this chapter you look at the signal before and after each of them.
#
# **You will**
#
# - read the header of an EDF file with your own eyes, and know how exact its samples are;
# - bring any spelling of the channels into one order, and see what the wrong order does: nothing visible;
# - find the hum of the mains, and learn how careless resampling turns it into a rhythm that the brain never had;
# - choose a filter by what it does to a seizure, not by its name;
# - break five files, and read what each error says;
# - filter and resample a day of EEG on the device you have, exactly.
#
# **You need** [chapter 00](00_start_here.ipynb), NumPy, and a rough idea of what a spectrum is. If you know MNE, you
# will recognize every call: the helpers of this book add names, checks and errors to MNE, and no new signal processing
# until the last section.
#
# Words that are new to you stand in the [glossary](../book/glossary.md).

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
fields, at = {}, 0
for name, width in widths.items():
    fields[name] = content[at : at + width].decode().strip()
    at += width
    print(f"{name:16s} {fields[name]}")

# %% [markdown]
# Two things to notice. The patient's name has a field of its own at a known place: in a file from a hospital, byte 8 is
# where you look before you share anything. And the length of the recording is *records × seconds in each*, a promise
# in the header that the rest of the file may not keep. We come back to that.
#
# Then each signal has its fields, all names first, then all units, and so on. Four of them say how the stored integers
# become microvolts. Here are those of the first signal.

# %%
signals = int(fields["signals"])


def field(offset, width, signal=0):
    begin = 256 + offset * signals + width * signal
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
error = np.abs(again.get_data(picks=label) - raw.get_data(picks=label)).max() * 1e6
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
#
# The 10-20 system names an electrode by its place: F for frontal, C central, P parietal, O occipital, T temporal; odd
# numbers left, even right, z on the midline. Files decorate these names, and four of them have changed since.
#
# **Guess** which of these the book's montage table knows, and what it makes of the last.

# %%
from helpers.eeg import CANONICAL, canonical_name

spellings = ["EEG Fp1", "FP1-REF", "EEG T7-LE", "p8", "Fz ", "ECG X1", "FP1-F7"]
for spelling in spellings:
    print(f"{spelling!r:12s} {canonical_name(spelling)}")

# %% [markdown]
# `T7` and `P8` are the newer names of T3 and T6. `FP1-F7` is a *bipolar* channel, the difference of two electrodes. It is
# not renamed to one of them, because it is neither: from differences alone the two potentials cannot be had back.
#
# With the names settled there is still the order. This book uses SzCORE's. The project whose field notes this book
# started from used another one, with the same 19 names:

# %%
theirs = "Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Cz Pz Fp2 F4 C4 P4 F8 T4 T6 O2".split()
print("same names:", set(theirs) == set(CANONICAL))
moved = [f"{a}/{b}" for a, b in zip(CANONICAL, theirs, strict=True) if a != b]
print(len(moved), "places differ, ours/theirs:", *moved)
record(places_that_differ=len(moved))

# %% [markdown]
# Feed a network that was trained on one order with the other, and
# <span data-result="places_that_differ">8</span> of 19 rows are someone else's. The shapes fit. Nothing raises. The scores
# get worse, and the search begins everywhere but here. So the order belongs to the data, is written down with the
# weights, and channels are taken by name.

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

before, eeg = pick_canonical(raw), average_reference(raw)
blink = slice(round(1716.2 * 200), round(1719.2 * 200))
seconds = eeg.times[blink]

# %% mystnb={"image": {"alt": "Two panels above each other, potential in microvolts against three seconds of time. Top: Fp1, next to the eyes, rises to some 350 microvolts for a fifth of a second in a blink, alike with the file's reference and with the average reference. Bottom, on a finer scale: O1 at the back of the head shows no blink with the file's reference, and with the average reference a dip of some 70 microvolts at the same moment."}} tags=["hide-input"]
with style():
    figure, panels = plt.subplots(
        2, 1, figsize=(9, 4.4), sharex=True, layout="constrained"
    )
    for axes, name in zip(panels, ["Fp1", "O1"], strict=True):
        for recording, color, width, kind in [
            (before, COLORS["quiet"], 2.2, "the file's reference"),
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
# The mean contains a nineteenth of every channel, so the blink now stands upside down in all of them. A clean reference
# electrode would be better; there is none on a head. What the average reference gives is comparability: recordings with
# different references become alike.
#
# It also takes one dimension away, and that is easy to check.

# %%
common = eeg.get_data().sum(axis=0)
rank = np.linalg.matrix_rank(eeg.get_data()[:, :2000])
print(f"the sum is at most {np.abs(common).max() * 1e6:.0e} µV, the rank {rank}")

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
# Sixty: the recording comes from the United States. `line_frequency` decides as you did: it compares the power at 50 and
# at 60 Hz with the neighborhood, on the median channel, and says `None` where neither stands out. How high is the peak on
# Cz alone?

# %%
frequencies, density = welch(eeg.get_data(picks="Cz")[0], fs=200, nperseg=800)
around = density[np.abs(frequencies - line) < 4]
line_ratio = around.max() / np.median(around)
print(f"{line:.0f} Hz, {line_ratio:.0f} times the median around it")
record(line_ratio=line_ratio)

# %% [markdown]
# ## A rhythm that the brain never had
#
# Sixty hertz is far from the few hertz of a seizure. Is the notch vanity, then? Watch what happens when somebody thins
# out the recording to save space, and takes every second sample.
#
# At 100 Hz, no frequency above 50 Hz (half the rate, the *Nyquist frequency*) can be told from one below. **Guess** where
# the 60 Hz went.

# %%
thinned = eeg.get_data(picks="Cz")[0, ::2] * 1e6
slower = eeg.copy().resample(100, method="polyphase", verbose="error")
resampled = slower.get_data(picks="Cz")[0] * 1e6

# %% mystnb={"image": {"alt": "Power spectral density of Cz from 1 to 49 hertz on a logarithmic axis, for two ways to 100 samples a second. Where every second sample was taken, a sharp peak stands at 40 hertz, some ten times above its neighborhood, and the whole curve lies higher from 20 hertz on. Where the recording was resampled with a filter there is no peak."}} tags=["hide-input"]
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
at_40 = [
    welch(signal, fs=100, nperseg=400)[1][160] for signal in (thinned, resampled)
]
ratio = at_40[0] / at_40[1]
print(f"at 40 Hz {at_40[0]:.2f} and {at_40[1]:.2f} µV²/Hz, {ratio:.0f} times")
record(alias_ratio=ratio)

# %% [markdown]
# A clean 40 Hz rhythm over the vertex, <span data-result="alias_ratio:.0f">13</span> times stronger than what is really there.
# It is the hum, folded down: 100 − 60 = 40. That is *aliasing*, and afterwards no filter can take it out again, because
# nothing distinguishes it from brain. A resampler filters first. `every_second = samples[::2]` does not.
#
# So the order of steps matters: notch and band-pass come before the change of rate.

# %% [markdown]
# ## Choose a filter by what it does to a seizure
#
# The slow drift of electrodes is larger than most brain waves, so everything below some edge is taken out. Two questions
# decide how: where is the edge, and may the filter look into the future?
#
# - A *zero-phase* filter looks at both sides of each sample. Waves stay where they are. It needs the whole recording.
# - A *causal* filter has the past only, as in a monitor at the bedside. It shifts each frequency by another amount, so
#   shapes change.
#
# The project behind the field notes filtered causally, with a Butterworth filter of third order, though it worked on
# whole files. Turn both controls and watch the spike-and-wave complexes. **Guess first:** with which edge do the slow
# waves go, and are they gone or turned into something else?

# %%
from scipy.signal import butter, sosfilt

onset = marked[2][0]
cz = clean.get_data(picks="Cz")[0] * 1e6
shown = slice(round((onset - 1.5) * 200), round((onset + 3.0) * 200))


def high_pass(kind, edge):
    if kind.startswith("zero"):
        return mne.filter.filter_data(cz, 200.0, edge, None, verbose="error")
    return sosfilt(butter(3, edge, "highpass", fs=200, output="sos"), cz)


# %% tags=["hide-input"]
def draw(kind, edge):
    with style():
        figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
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
    swing = np.ptp(high_pass(kind, edge)[shown])
    return (
        "Cz, 4.5 seconds around the start of a seizure, before and after a "
        f"high-pass at {edge:g} Hz ({kind}). Afterwards the spike-and-wave "
        f"complexes measure {swing:.0f} microvolts from top to bottom."
    )


# %%
explore(
    draw,
    alt=describe,
    kind=("filter", ["zero phase, FIR", "causal, Butterworth"]),
    edge=("edge (Hz)", [0.1, 0.5, 1.0, 2.0, 4.0]),
)

# %% [markdown]
# With zero phase the seizure stays what it is up to an edge of 2 Hz: the drift goes, the complexes do not. At 4 Hz the slow
# waves, which make the diagnosis, are cut down, and ripples stand between the spikes that nobody's brain made.
#
# The causal filter is another matter. At 1 Hz the flanks lean. At 2 Hz the slow waves have moved against the spikes, which
# are too fast for this filter to touch: what was spike, then wave, is now one tangle. How far does a wave of 3 Hz move?

# %%
from scipy.signal import sosfreqz

for edge in (0.1, 0.5, 1.0, 2.0):
    causal = butter(3, edge, "highpass", fs=200, output="sos")
    _, response = sosfreqz(causal, worN=[3.0], fs=200)
    early = np.angle(response[0]) / (2 * np.pi * 3) * 1000  # ms
    print(f"edge {edge:3.1f} Hz: a 3 Hz wave appears {early:4.0f} ms earlier")

# %% [markdown]
# "Earlier" is no mistake: a high-pass turns the phase forward, which for a lasting rhythm looks like a shift to the left.
# At 2 Hz that is a quarter of the wave's own length. A single event cannot come early, of course, so its shape pays.
#
# The price of a zero-phase filter is length. To separate 0.5 Hz from 0 it has to see several seconds:

# %%
taps = mne.filter.create_filter(None, 200.0, 0.5, None, verbose="error")
symmetric = np.allclose(taps, taps[::-1])
print(f"{len(taps)} taps, {len(taps) / 200:.1f} s; symmetric: {symmetric}")

# %% [markdown]
# So half of that, at each end of what you filter, is partly invented. Filter the whole recording, then cut windows:
# never the other way round.

# %% [markdown]
# ## 256 samples a second
#
# The detector reads 256 Hz; this recording has 200. Raising the rate adds samples and no information: what the amplifier
# did not record above 100 Hz stays empty.

# %%
high = clean.copy().filter(0.5, None, verbose="error")
final = high.copy().resample(256, method="polyphase", verbose="error")
print(f"{high.n_times} samples became {final.n_times}")

# %%
frequencies, density = welch(final.get_data(), fs=256, nperseg=1024)
density = np.median(density, axis=0)  # over the channels
above = density[frequencies > 112].max() / density[frequencies == 90][0]
print(f"above 112 Hz at most {above:.0e} of the power at 90 Hz")

# %% [markdown]
# A network that was trained on recordings with 256 Hz of their own may use what lies there. On this one it will find
# silence. Whoever compares data sets should ask what rate they were *recorded* at.

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
        places, ordinary, "s", color=COLORS["marked"], label="standard deviation"
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
# Divided by its standard deviation, Fp1 would show brain waves at less than half the size that O1 shows them. The
# quartiles do not care: a quarter of the samples lies below, a quarter above, however tall the tallest blink is.
#
# What is still too tall is clipped, at 20 robust standard deviations. Does that touch anything that matters?

# %%
scaled = (samples - middle[:, None]) / robust[:, None]
inside = np.zeros(scaled.shape[1], bool)
for onset, end in marked:
    inside[round(onset * 256) : round(end * 256)] = True

# %%
cut = np.abs(scaled) > 20
percent, percent_inside = 100 * cut.mean(), 100 * cut[:, inside].mean()
print(f"clipped: {percent:.3f} % of all samples")
print(f"         {percent_inside:.2f} % of those inside seizures")
print(f"on {cut[:, inside].any(axis=1).sum()} of 19 channels there")
record(clipped_percent=percent, clipped_percent_in_seizures=percent_inside)

# %% [markdown]
# It does. The tallest spikes of the seizures lose their tips: <span data-result="clipped_percent_in_seizures:.1f">0.6</span> %
# of the samples inside seizures against <span data-result="clipped_percent:.3f">0.017</span> % of all. Their rhythm and their
# width stay, so for this seizure type it may not hurt. That is a decision, not a fact of nature, and now you know that
# somebody took it.

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
# ## Five broken files
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
print(f"MNE: {shortened.times[-1] / 60:.1f} of {again.times[-1] / 60:.1f} minutes")
print(f"marks: {len(shortened.annotations)} of {len(again.annotations)}")
print(f"seizures: {len(seizures(shortened))} of {len(marked)}")

# %% [markdown]
# MNE reads what is there. It warns, and a batch job with `verbose="error"` never shows a warning; a recording that is still
# being written looks the same, so that is a fair choice for a library. For a data set it is a trap. The three seizures were
# in the second half, and what remains looks like a recording without any: a wrong label, made by a broken copy.
#
# `read_recording` compares the size of the file with the promise in its header.

# %%
with expect_error(
    RecordingError, match="truncated: the header promises 1811 records"
):
    read_recording(half)

# %% [markdown]
# **Three: a bipolar montage.** The electrodes are in there, and not to be had.

# %%
bipolar = mne.set_bipolar_reference(
    before, ["Fp1", "F7"], ["F7", "T3"], verbose="error"
)
with expect_error(RecordingError, match="It is bipolar"):
    preprocess(bipolar)

# %% [markdown]
# **Four: an electrode that came off.** It records a constant. Divided by its scale, which is zero, it would become NaN,
# and one NaN becomes a network's whole output.

# %%
loose = before.copy()
loose.apply_function(lambda trace: np.full_like(trace, 1e-6), picks=["T5"])
with expect_error(RecordingError, match="channel T5: is flat"):
    preprocess(loose)

# %% [markdown]
# **Five: too short.** A filter of several seconds on a recording of eight.

# %%
with expect_error(
    RecordingError, match="filtering from 0.5 Hz needs at least 10 s"
):
    preprocess(before.copy().crop(0, 8))

# %% [markdown]
# Each names the file, what was found, what was expected and what to do. A batch goes on with the others, and says what it
# left out:

# %%
left_out = {}
for candidate in [path, page, half]:
    try:
        preprocess(read_recording(candidate))
    except RecordingError as fault:
        left_out[candidate.name] = str(fault).split(":")[1].strip()
print(f"{3 - len(left_out)} of 3 prepared; left out: {left_out}")

# %% [markdown]
# ## A day on one device
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
# First the reference: MNE, in double precision on the CPU, high-pass and resampling.

# %%
import time

began = time.perf_counter()
expected = mne.filter.filter_data(day, 200.0, 0.5, None, verbose="error")
expected = mne.filter.resample(expected, 256, 200, method="polyphase")
mne_seconds = time.perf_counter() - began
print(f"MNE: {mne_seconds:.1f} s, for {HOURS * 3600} s of EEG")

# %% [markdown]
# Both steps are convolutions. Filtering is one with the taps above; long ones are done through the FFT, block by block.
#
# Resampling by 256/200 = 32/25 is one, too, once you see it: the new samples fall on 32 different positions between the
# old ones, so there are 32 short filters, one for each, and all move on by 25 old samples at a time. **Which layer of a
# convolutional network has 32 output channels and a stride of 25?**

# %%
from helpers.eeg.torch_filters import polyphase_bank

bank, padding = polyphase_bank(32, 25)
print("one Conv1d with weights of shape", tuple(bank.shape), "and stride 25")

# %%
from helpers.eeg.torch_filters import resample_polyphase, zero_phase_fir


def filter_and_resample(signal):
    return resample_polyphase(zero_phase_fir(signal, taps), 32, 25)


# %%
def timed(step, *arguments):
    if device == "cuda":
        torch.cuda.synchronize()  # a GPU works in the background: wait for it
    began = time.perf_counter()
    result = step(*arguments)
    if device == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - began


# %%
on_device, copying = timed(lambda: torch.from_numpy(day).float().to(device))
result, first = timed(filter_and_resample, on_device)
later = [timed(filter_and_resample, on_device)[1] for _ in range(7)]
usual = float(np.median(later))
print(f"copy {copying:.2f} s, first run {first:.2f} s")
print(f"7 more: median {usual:.3f} s, {min(later):.3f} to {max(later):.3f} s")
record(hours=HOURS, mne_seconds=mne_seconds, copy_seconds=copying)
record(device_seconds=usual)

# %% [markdown]
# The first run pays for plans and memory, the later ones show the work. On a GPU compare the copy with the work: data that are
# there should stay there.
#
# Fast is nothing without the same answer, float32 here against float64 in MNE:

# %%
difference = np.abs(result.cpu().numpy() - expected).max() / np.abs(expected).max()
print(f"largest difference {difference:.1e} of the largest value")
assert difference < 1e-5
record(relative_difference=difference, speedup=mne_seconds / usual)

# %% [markdown]
# On the machine that stored this page, <span data-result="hours:g">24</span> hours took MNE
# <span data-result="mne_seconds:.0f">24</span> s on the CPU and <span data-result="device_seconds:.2f">0.07</span> s on the
# device, <span data-result="speedup:.0f">345</span> times faster, after a copy of
# <span data-result="copy_seconds:.2f">0.39</span> s. On two CPU cores,
# <span data-result="cpu/hours:g">1</span> hour took MNE <span data-result="cpu/mne_seconds:.2f">2.38</span> s and the same code
# as above <span data-result="cpu/device_seconds:.2f">1.51</span> s.
#
# One trap lies in wait on recent NVIDIA GPUs. PyTorch lets cuDNN compute float32 *convolutions* in TF32, which keeps 10
# bits after the point instead of 23, and a resampler that is written as a convolution is a convolution.
# `resample_polyphase` forbids it. This cell allows it, and runs on a GPU only:

# %% tags=["lane:gpu", "skip-execution"]
errors = {}
for rate in (200, 1000):  # the same samples, taken as a recording at either rate
    wide, step = polyphase_bank(256, rate)[0], rate // np.gcd(rate, 256)
    piece = on_device[:, None, : 600 * 1000]
    exact = torch.nn.functional.conv1d(piece.double().cpu(), wide, stride=step)
    for precision in ("ieee", "tf32"):
        torch.backends.cudnn.conv.fp32_precision = precision  # torch >= 2.9
        output = torch.nn.functional.conv1d(piece, wide.to(piece), stride=step)
        error = float((output.cpu() - exact).abs().max() / exact.abs().max())
        print(f"{rate:4d} to 256 Hz, {precision}: {error:.1e}")
        errors[rate, precision] = error
record(ieee_error=errors[1000, "ieee"], tf32_error=errors[1000, "tf32"])

# %% [markdown]
# cuDNN chooses an algorithm by the shapes, so one rate is hit and another is not, on the same machine. An error of
# <span data-result="gpu/tf32_error:.0e">5e-04</span> of the largest value instead of
# <span data-result="gpu/ieee_error:.0e">5e-07</span> is harmless inside a network, and ruinous for a filter that has to tell a
# wave of a microvolt from a drift of a thousand. Nothing warns you; you measure.

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | a rhythm at exactly 40, 20 or 10 Hz on one electrode | mains hum, folded down by thinning out | resample with a filter, from the original file |
# | scores drop on a new archive, no error | another channel order, or another reference | take channels by name, re-reference, write the order down |
# | a patient without seizures who should have some | a truncated file, read in silence | compare the size with the header: `read_recording` |
# | slow waves with odd flanks | a causal filter, or an edge above 1 Hz | zero phase, 0.5 Hz, on the whole recording |
# | NaN from the network | a flat channel, divided by zero | refuse or interpolate it before scaling |
# | another answer on another GPU | TF32 in a convolution | forbid it where exactness counts |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **09.1** Write `physical_value(digital, digital_range, physical_range)`: the value in µV of a stored integer. Both ranges are
# pairs `(minimum, maximum)`, as in the header; `digital` may be a NumPy array.

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
# are called `names`, in the order of `order`. Raise a `ValueError` that names what is missing if a channel of `order` is
# not there. The input must not change.


# %%
def in_order(samples, names, order): ...


check("09.3", in_order)

# %% tags=["remove-input"]
solution("09.3")

# %% [markdown]
# **In a terminal**, cut an EDF file of your own with `head -c 100000 my.edf > cut.edf`, and run
# `workbook detect cut.edf`. Then open it with the viewer you trust most. Does that one tell you?
#
# ## Recap
#
# - An EDF sample is an integer on a line between two pairs of numbers in the header; half a step is its precision.
# - Names, order and reference are data. A wrong order raises nothing.
# - Aliasing cannot be undone. Filter, then change the rate, on the whole recording, before cutting.
# - Choose an edge and a phase by looking at a seizure. Zero phase, 0.5 Hz is this book's choice.
# - Scale by quartiles; know what the clip cuts.
# - A broken file has to say so. MNE is forgiving by design; a data set must not be.
# - A filter on a GPU is exact in float32 as long as nobody lets TF32 in.
#
# ## What next
#
# Chapter 10 cuts windows, gives them labels and keeps patients apart (to come). Chapter 12 comes back to what marks and
# false alarms are worth. The [part page](../book/part_eeg.md) shows where you are.
