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
# # The detector, counted
#
# Chapter 00 ran the detector as a box: 19 channels of EEG in, a score out. Here the box is open. We follow one window
# through it, count what it is made of in three currencies (parameters, operations, milliseconds), and find out where a
# published number of this very network came from: "~13.4M parameters".
#
# **You will**
#
# - see the shape of the signal after each stage of U-Net, ResCNN and Bi-Mamba-2;
# - count 32,606,439 parameters, and say what the 13.4 million are;
# - compute what one step has seen of the EEG, and check it by gradients;
# - silence the state space layers with a common line of initialization code, and find out which of its draws does it;
# - know what a window costs in time and memory, and which part is worth making faster.
#
# **You need** PyTorch, and [chapter 00](00_start_here.ipynb). One section (*One line that silences the state*) looks inside a Mamba-2
# block, and assumes [chapter 06](06_mamba2_block.ipynb). The detector follows one that was published with the code behind this
# book's [field notes](../book/field_notes.md), four texts by its authors, A to D; *the reference* below means that network. Nothing is
# trained here: all of it can be known before the first step of training. A GPU makes the numbers of the last sections
# interesting; on a CPU the same cells run with one window at a time.

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

# %% nbmake={"mock": {"LENGTH": 960, "REPEATS": 1}}
import torch

SEED = 8
device = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = 64 if device == "cuda" else 1  # windows at a time, where we measure
LENGTH = 15360  # samples of a measured window: 60 s at 256 Hz
REPEATS = 10 if device == "cuda" else 3
device

# %% [markdown]
# ## One window through the drawing
# <a id="lab-path"></a>
#
# ![The detector as a U: on the left the encoder goes down from 256 to 16 steps a second in four halvings, along the bottom lie three ResCNN blocks and six bidirectional Mamba-2 layers, on the right the decoder goes back up, with a skip from the encoder at each rate.](../book/_static/detector.svg)
#
# Down on the left, along the bottom, up on the right. The *encoder* halves the rate four times while it widens from 64 to
# 512 channels. At the bottom, at 16 steps a second, work the *ResCNN* blocks and the *Bi-Mamba-2* layers. The *decoder*
# mirrors the encoder, and at each rate a *skip* hands it what the encoder had there.
#
# The EEG is that of chapter 00: a boy with absence epilepsy, published with the Python package
# [eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/) by Christopher Lee-Messer under the BSD-3-Clause license. Two
# minutes around a seizure are enough here. (Real work prepares the whole recording first, as
# [chapter 09](09_recordings.ipynb) says.)

# %%
from helpers.eeg import load, preprocess

raw = load("absence")
samples = torch.from_numpy(preprocess(raw.copy().crop(1380, 1500)))
window = samples[None, :, :15360]  # (1, 19, 15360)
window.shape, window.dtype

# %%
from helpers.models import SeizureDetector

torch.manual_seed(SEED)
model = SeizureDetector().eval().to(device)
model.config

# %% [markdown]
# `config` is the dict that builds this network again. `backend="auto"` means: the official kernels where there is a GPU that
# has them, our own exact path elsewhere. Which one computes a given input, `backend_for` says.
#
# Now the window goes through, and a *hook* on each stage notes the shape of what comes out. (On a GPU in bfloat16, as one
# would use it.)

# %%
from helpers.models import stages_of

shapes = {}
hooks = [
    stage.register_forward_hook(
        lambda _, __, out, name=name: shapes.update({name: list(out.shape)})
    )
    for name, _, stage in stages_of(model)
]

# %%
half = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
with torch.inference_mode(), half:
    logits = model(window.to(device))  # (1, 15360)
for hook in hooks:
    hook.remove()
print(list(window.shape), "->", list(logits.shape))
print("computed by", model.backend_for(window.to(device)))

# %%
for name, operation, _ in stages_of(model):
    print(f"{name:18s} {operation:24s} {shapes[name]}")

# %% [markdown]
# Read it with the drawing beside it. The bottom layers hold (batch, steps, channels) where the convolutions hold (batch,
# channels, steps): a state space layer reads a sequence of vectors. What has 960 steps at the bottom has 15,360 samples at
# the top, and one logit comes out for each of them.
#
# <a id="lab-activation"></a>
# One detail that field note C mentions: the convolutions of its relative, the
# [SeizureTransformer](https://github.com/keruiwu/SeizureTransformer), end in ELU. And here?

# %%
{
    type(m).__name__
    for m in model.modules()
    if "activation" in type(m).__module__
}

# %% [markdown]
# ReLU throughout. (SiLU is there too, inside Mamba-2, as a function.)
#
# ## Three counts
#
# **Guess, and write it down:** of these stages, which one holds the most parameters? Which takes the most operations for a
# window? Which takes the most time?
#
# `count_stages` sends a window without numbers (torch's *meta* device) through the network and counts convolutions and
# matrix products. One multiplication with its addition counts as two operations. A GFLOP is 10⁹ of them.

# %%
from helpers.models import count_stages

rows = count_stages(model)
for row in rows:
    print(f"{row.name:18s} {row.parameters:11,d} {row.gflop:7.2f} GFLOP")
total = sum(row.parameters for row in rows)
gflop = sum(row.gflop for row in rows)
print(f"{'total':18s} {total:11,d} {gflop:7.2f} GFLOP")

# %% [markdown]
# In a terminal, `workbook count` prints this table. Two of the three guesses can be settled now:

# %%
from helpers.teaching import record

most = max(rows, key=lambda row: row.parameters)
busiest = max(rows, key=lambda row: row.gflop)
print("most parameters:", most.name, "  most operations:", busiest.name)
record(total=total, gflop=gflop, busiest=busiest.name)

# %% [markdown]
# A Bi-Mamba-2 layer holds the most parameters (there are six, all alike), and a stage of plain convolutions takes the most
# operations: its weights are fewer, but each is used at twice as many steps. A count of parameters does not say how often
# a parameter is used.
#
# Time has to be measured. `measure_stages` runs each stage alone, on the input that it gets in the network. (On a GPU, in
# bfloat16, <span data-result="batch:d">64</span> windows at a time.)

# %%
from helpers.benchmarks.stages import measure_stages

costs = measure_stages(model, BATCH, LENGTH, REPEATS)
slowest = max(costs, key=lambda cost: cost.training_ms)
print("most time:", slowest.name)
record(slowest=slowest.name, batch=BATCH)

# %%
SHOWN = "encoder.stages.0 encoder.stages.3 rescnn.0 mamba.0 decoder.stages.3"

# %%
for row, cost in zip(rows, costs, strict=True):
    if row.name in SHOWN.split():
        print(
            f"{row.name:16s} {row.parameters:9,d} parameters"
            f" {row.gflop:5.2f} GFLOP {cost.training_ms:6.1f} ms in training"
        )

# %% [markdown]
# Where this page was made the slowest is `<span data-result="slowest">mamba.5</span>`. Now look at the first two lines. Both stages give a
# window back as about a million numbers, 64 channels × 15,360 steps and 512 × 1,920. So batch norm and ReLU have the same
# work in both. The convolutions do not:

# %%
both = {row.name: (row, cost) for row, cost in zip(rows, costs, strict=True)}
fine, fine_cost = both["encoder.stages.0"]
deep, deep_cost = both["encoder.stages.3"]

# %%
operations = deep.gflop / fine.gflop
duration = deep_cost.training_ms / fine_cost.training_ms
print(f"{operations:.1f} times the operations, {duration:.1f} times the time")
record(deep_operations=operations, deep_duration=duration)

# %% [markdown]
# <span data-result="deep_operations:.1f">6.0</span> times the operations take <span data-result="deep_duration:.1f">0.6</span>
# times as long. (On a CPU, where arithmetic costs more beside memory, it was <span data-result="cpu/deep_duration:.1f">4.5</span> times.)
# The million numbers have to be read and written in either case, and not one operation of batch norm and ReLU was counted.
#
# By part of the network, as shares of the whole:


# %%
def by_part(stages, value):
    totals = {}
    for stage in stages:
        part = stage.name.partition(".")[0]
        totals[part] = totals.get(part, 0) + value(stage)
    return totals


# %%
counted = {
    "parameters": by_part(rows, lambda row: row.parameters),
    "operations": by_part(rows, lambda row: row.gflop),
    "time": by_part(costs, lambda cost: cost.training_ms),
}
PARTS = list(counted["time"])[:4]  # without the head, which is tiny
for label, totals in counted.items():
    share = 100 * totals["mamba"] / sum(totals.values())
    record(**{f"mamba_{label}": share})
    print(f"{label:10s} of the Bi-Mamba-2 layers: {share:.0f} %")

# %% mystnb={"image": {"alt": "Four groups of horizontal bars, one group for each part of the network: encoder, ResCNN, Mamba and decoder. Each group has three bars, the share of parameters, of operations and of time in training, in percent of the whole network. The Bi-Mamba-2 layers lead in all three, but their share of the operations is much smaller than that of the parameters; encoder and decoder have few parameters and about twice that share of the operations."}} tags=["hide-input"]
import matplotlib.pyplot as plt

from helpers.teaching import COLORS, style

shades = [COLORS["accent"], COLORS["marked"], COLORS["quiet"]]
with style():
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for bar, (label, totals) in enumerate(counted.items()):
        whole = sum(totals.values())
        shares = [100 * totals[part] / whole for part in PARTS]
        places = [row + 0.26 * (bar - 1) for row in range(4)]
        drawn = axes.barh(places, shares, 0.24, color=shades[bar], label=label)
        axes.bar_label(drawn, fmt="%.0f", padding=3, fontsize=9)
    axes.set_yticks(range(4), PARTS)
    axes.invert_yaxis()
    axes.set_xlabel("share of the whole network (%)")
    axes.legend(loc="lower right")
    axes.set_title("Three counts of the same four parts")
plt.show()

# %% [markdown]
# The Bi-Mamba-2 layers hold <span data-result="mamba_parameters:.0f">69</span> percent of the parameters, take
# <span data-result="mamba_operations:.0f">54</span> percent of the operations, and
# <span data-result="mamba_time:.0f">52</span> percent of the training time on this machine. The others are the stages with few parameters and
# long signals.
#
# **One honest footnote to the operations.** The state space part is computed in chunks, and the size of a chunk changes the
# count, never the result. Ours has 32 steps, the official kernels' default has 256:

# %%
for chunk_size in (32, 256):
    with torch.device("meta"):
        chunked = count_stages(SeizureDetector(chunk_size=chunk_size))
    print(chunk_size, f"{sum(row.gflop for row in chunked):6.2f} GFLOP")

# %% [markdown]
# So "the GFLOPs of this network" is only a number once the chunk is named.

# %% [markdown]
# ## Where 13.4 million comes from
# <a id="lab-count"></a>
#
# Field note C says of this network "Parameters: ~13.4M (not 25M as initially estimated)", and further down calls that "more
# efficient". The project's own specification adds that a tool had verified it. We have just counted 32.6 million. The tool
# was not wrong: it counted a network that somebody had built. **Guess:** which one?
#
# The program behind the notes tries to import mamba_ssm, and where that fails it builds a *stand-in*: a small
# convolution in the place of each Mamba-2. Shapes fit, training runs, and nothing stops. ([Chapter
# 07](07_bidirectional.ipynb#lab-stand-in) shows what it cannot learn.) Here it comes only when asked for, by `backend="conv1d"` or by the variable that the warning names, and it warns:

# %%
import warnings

from helpers.models import StandInWarning

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", StandInWarning)
    stand_in = SeizureDetector(backend="conv1d")
print(len(caught), "warnings, of which the first:")
print(caught[0].message)

# %%
from helpers.models import parameters_by_stage

for name, count in parameters_by_stage(stand_in).items():
    print(f"{name:8s} {count:12,d}")

# %% [markdown]
# 13,397,799. That is the "13.4M": the network with no Mamba in it. Nothing became more efficient; a part was missing where
# somebody counted.
#
# There is a third number. The same program, where mamba_ssm *is* installed, has 32,643,303 parameters. It builds the
# stand-ins always, next to the real layers, and never calls them: two for each of the six layers.

# %%
from helpers.models import Conv1dStandIn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StandInWarning)
    unused = Conv1dStandIn(512)
each = sum(p.numel() for p in unused.parameters())
print(f"{total:,} + 12 x {each:,} = {total + 12 * each:,}")

# %% [markdown]
# **Take away.** Count what runs. A total without the list of what was built behind it is a rumor, and a tool that prints
# it makes it look like evidence.
#
# So that it cannot happen unseen here, what runs is recorded: in `config`, in files of weights, and in the name of every
# result.

# %%
stand_in.config["backend"], stand_in.backend_for(window)

# %% [markdown]
# ## What one step has seen
# <a id="lab-receptive-field"></a>
#
# Take one of the 960 steps at the bottom. How much EEG can it know of, before the state space layers? Each convolution
# adds its width minus one, in units of the steps that it works on; each stride makes these steps longer. **Guess:** with
# kernels of 7 and 5 and four halvings, is it a tenth of a second, half a second, or five?

# %%
layers = [(7, 1)] + 4 * [(5, 1), (5, 1), (2, 2)]  # (kernel, stride)
seen, step = 1, 1
for kernel, stride in layers:
    seen += (kernel - 1) * step
    step *= stride
print(f"{seen} samples = {seen / 256:.2f} s, one step every {step} samples")

# %% [markdown]
# This is the *receptive field*. `receptive_fields` does the same sum over the network as it was built, and goes on through
# ResCNN, whose widest branch has 7 taps:

# %%
from helpers.models import receptive_fields

fields = receptive_fields(model)
for name in ("encoder.downs.3", "rescnn.0", "rescnn.1", "rescnn.2"):
    field = fields[name]
    print(f"{name:16s} {field.size:4d} samples  {field.size / 256:.2f} s")
record(field_s=fields["rescnn.2"].size / 256)

# %% [markdown]
# Half a second for the encoder, and <span data-result="field_s:.2f">1.68</span> seconds after ResCNN. A sum can be wrong, so ask the network:
# the gradient of one step with respect to the input is exactly zero where the step has not seen the EEG. (On the CPU in
# float64, where zeros are exact. An eight-second stretch is long enough.)

# %%
from helpers.models import influence

torch.manual_seed(SEED)
exact = SeizureDetector(backend="torch").double().eval()
stretch = samples[None, :, 7680:9728].double()  # (1, 19, 2048)


def up_to(blocks, layers):
    """From the EEG through so many ResCNN blocks and Mamba layers."""

    def path(x):
        bottom = exact.rescnn[:blocks](exact.encoder(x)[0])
        return exact.mamba[:layers](bottom.mT).mT  # (batch, channels, steps)

    return path


# %%
STEP = 64  # of 128 at the bottom: the middle of the stretch
PLACES = {
    "the encoder": (0, 0),
    "one ResCNN block": (1, 0),
    "three ResCNN blocks": (3, 0),
    "one Mamba layer": (3, 1),
}
seen = {
    place: influence(up_to(*depth), stretch, STEP)
    for place, depth in PLACES.items()
}

# %%
for place, weight in seen.items():
    first, *_, last = weight.nonzero()[:, 0].tolist()
    print(f"after {place:20s} {last - first + 1:4d} samples seen")

# %% [markdown]
# The convolutions agree with the sum to the sample, and after a single Mamba layer there is no sample that the step has not
# seen. Turn the control from stage to stage:


# %% tags=["hide-input"]
import numpy as np

from helpers.teaching import explore


def draw(place):
    time = np.arange(2048) / 256
    weight = (seen[place] / seen[place].max()).numpy()
    shown = np.where(weight > 0, weight, np.nan)
    with style():
        figure, axes = plt.subplots(figsize=(7.6, 3.2), layout="constrained")
        axes.semilogy(time, shown, color=COLORS["accent"], linewidth=0.9)
        axes.axvline((STEP + 0.5) / 16, color=COLORS["marked"], linestyle="--")
        axes.set_xlim(0, 8)
        axes.set_ylim(1e-8, 3)
        axes.set_xlabel("time of the EEG sample (s); dashed: the step itself")
        axes.set_ylabel("influence, of the largest")
        axes.set_title(f"What one step has seen after {place}")
    return figure


def describe(place):
    width = int((seen[place] > 0).sum()) / 256
    return (
        f"A curve of how much each sample of eight seconds of EEG moves one step of the bottom, after {place}, on a "
        f"logarithmic scale. It is highest at the step, in the middle, and is there for {width:.2f} seconds in all; "
        "elsewhere the influence is exactly zero and nothing is drawn."
    )


explore(draw, alt=describe, place=("after", list(PLACES)))

# %% [markdown]
# Note the scale: far away the influence of an *untrained* layer is small, but it is not zero, and training can make use of it.
# A convolution has no such choice.
#
# Two claims can be settled with this. Field note B: "Pure CNNs: no global context". True of this one, whose context ends after
# <span data-result="field_s:.2f">1.68</span> seconds. And the "context of ±5 minutes" in the project's documents: the window is
# 60 seconds long and nothing is carried to the next one, so no part of it can see further than that.

# %% [markdown]
# ## What the bottom cannot draw
#
# The bottom has 16 steps a second, so a map there draws no frequency above 8 Hz: that is half its rate, the *Nyquist
# frequency*. A spike in the EEG lasts 20 to 70 ms, about one step. <!-- given: the definition of a spike -->
# The same documents say that "ResCNN captures 10–80 Hz spikes". Its kernels run along these steps, so none of them meets such
# a wave. (The 512 maps together could hold a faster signal in some code, spread over channels, if training found both the
# code and its inverse.)
#
# The network has an easier way for what is fast: the skips. To see which way it takes, the batch norms need real statistics
# first. (An untrained one assumes inputs of mean 0 and variance 1, and the signal fades from stage to stage.) One pass in
# training mode over four stretches of EEG gives them those, as the first steps of training would:


# %%
def with_statistics(network, eeg):
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 1.0  # take the statistics of the last batch
    with torch.no_grad():
        network.train()(eeg)
    return network.eval()


# %%
stretches = samples[:, :15360].unflatten(1, (4, 3840)).transpose(0, 1)
torch.manual_seed(SEED)
tuned = SeizureDetector(dropout=0.0, backend="torch")
tuned = with_statistics(tuned, stretches)  # (4, 19, 3840)

# %% [markdown]
# Then a burst of 20 Hz, half a second long, is added to all channels, and we compare what is inside the network with it and
# without it. There are eight bursts under the same envelope, the wave of each an eighth of a period ahead of the one before;
# we will need them in a moment.

# %% nbmake={"mock": {"BURSTS": 4}}
BURSTS = 8

# %%
TURNS = torch.arange(BURSTS) / BURSTS  # of a period
time = torch.arange(3840) / 256
envelope = 2 * torch.exp(-(((time - 7.5) / 0.15) ** 2) / 2)
periods = 20 * (time - 7.5) + TURNS[:, None]
bursts = envelope * torch.sin(2 * torch.pi * periods)  # (8, 3840)


# %% [markdown]
# **Guess** what the first burst looks like in the finest skip, and what in a map at the bottom.


# %%
def inside(eeg):
    """The maps of the finest skip and of the bottom, at 256 and 16 Hz."""
    bottom, skips = tuned.encoder(eeg)
    return skips[0][0], tuned.rescnn(bottom)[0]


# %%
with torch.inference_mode():
    before = inside(stretches[:1])
    after = inside(stretches[:1] + bursts[0])
changes = [b - a for a, b in zip(before, after, strict=True)]
skip, bottom = [maps[maps.std(dim=1).argmax()] for maps in changes]

# %% [markdown]
# And the output? We take the skips away, by a hook that hands the decoder zeros for them. Such a decoder needs batch norms of
# its own: with the statistics of the whole network, which expect the skips, everything in it would come out too small.

# %%
import copy


def without_skips(network):
    network = copy.deepcopy(network)
    network.decoder.register_forward_pre_hook(
        lambda _, inputs: (inputs[0], [torch.zeros_like(s) for s in inputs[1]])
    )
    return with_statistics(network, stretches)


# %%
def moved(network):
    """What each of the bursts changes in the output: (8, 3840)."""
    with torch.inference_mode():
        with_burst = network(stretches[:1] + bursts[:, None])
        return with_burst - network(stretches[:1])


# %%
answer, alone = moved(tuned), moved(without_skips(tuned))

# %% mystnb={"image": {"alt": "Four curves above each other over two seconds. First the burst that was added to the EEG, a 20 hertz wave that swells and fades. Second a map of the finest skip, which follows the wave peak by peak. Third a map at the bottom, drawn as stairs of 62 milliseconds, a few of them high or low and nothing of the wave left. Fourth the output, with skips and without: both are jagged and neither shows the wave. The one without skips is larger and lasts longer than the burst."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(
        4, 1, figsize=(8, 6), sharex=True, layout="constrained"
    )
    axes[0].plot(time, bursts[0], color=COLORS["ink"], linewidth=1)
    axes[1].plot(time, skip, color=COLORS["accent"], linewidth=1)
    middles = (np.arange(240) + 0.5) / 16
    axes[2].step(middles, bottom, where="mid", color=COLORS["accent"])
    axes[3].plot(time, alone[0], color=COLORS["marked"], label="without")
    axes[3].plot(time, answer[0], color=COLORS["accent"], label="with skips")
    for axis, title in zip(
        axes,
        (
            "The burst, added to every channel",
            "What it changes in a map of the finest skip, 256 Hz",
            "In a map at the bottom after ResCNN, 16 Hz",
            "In the output (a logit)",
        ),
        strict=True,
    ):
        axis.set_title(title)
    axes[3].legend(loc="lower right", ncols=2)
    axes[3].set_xlim(6.5, 8.5)
    axes[3].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# The skip has the wave's rhythm, its troughs cut off by ReLU. The map at the bottom has a few stairs: it can say that
# something happened, and about when. Neither output looks like the wave, and without skips even more is moved. Is the bottom
# the better way, then? No: the decoder's weights are random, and it makes something jagged of any change. Some of that is at
# 20 Hz, whatever the change was, so how much there is of it does not tell where it came from.
#
# So turn the wave: that is what the eight bursts are for. A part of the output at 20 Hz is a complex number, and its angle says
# where in its period it stands. Whatever goes back to the wave itself turns with it, an eighth of a circle from burst to burst;
# what only goes back to "something happened here" stays where it is. **Guess:** which of the two outputs walks around the circle?

# %%
wave = torch.exp(-2j * torch.pi * 20 * time)
outputs = {"with skips": answer, "without": alone}
points = {name: (out * wave).sum(1) for name, out in outputs.items()}  # (8,)


# %%
def turning(points):
    """Percent of the power of these points that turns with the wave."""
    turned_back = points * torch.exp(-2j * torch.pi * TURNS)
    power = points.abs().square().mean()
    return (100 * turned_back.mean().abs().square() / power).item()


# %%
share = {name: turning(eight) for name, eight in points.items()}
for name, percent in share.items():
    print(f"{name:10s} {percent:3.0f} % turn with the wave")
record(turning_with=share["with skips"], turning_without=share["without"])

# %% mystnb={"image": {"alt": "Two panels, each with the part at 20 hertz of the output as eight numbered points in the complex plane, one for each burst, joined in their order. With skips the points walk once around the origin, a full turn for a full period. Without skips they wander on one side or across the middle in no such order."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
    for axis, (name, eight) in zip(axes, points.items(), strict=True):
        closed = torch.cat([eight, eight[:1]])
        axis.plot(closed.real, closed.imag, color=COLORS["line"])
        axis.plot(0, 0, "+", color=COLORS["marked"], markersize=14)
        for number, point in enumerate(eight.tolist()):
            axis.text(
                point.real,
                point.imag,
                str(number),
                ha="center",
                va="center",
                color=COLORS["ink"],
            )
        reach = 1.2 * eight.abs().max().item()
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axis.set_xlabel("real part; + is zero")
        axis.set_title(f"{name}: {share[name]:.0f} % turn with the wave")
    axes[0].set_ylabel("imaginary part")
plt.show()

# %% [markdown]
# With skips, <span data-result="turning_with:.0f">92</span> percent of what the output has at 20 Hz turn with the wave; without them
# <span data-result="turning_without:.0f">5</span> percent, where eight angles drawn at random would give 1 in 8 on average. What
# is fast travels along the top of the drawing; what is slow or far away has to go through the bottom. (This is the network before
# training. What training could do with the 512 maps, it does not say.)

# %% [markdown]
# ## A head of two maps that is one
#
# The last two stages map 64 channels to 19 and the 19 to one logit. The documents give a reason, "Preserve 19-ch
# semantics". Between the two stands nothing, no ReLU, no norm. **Guess:** what can 64 → 19 → 1 do that 64 → 1 cannot?

# %%
first, second = exact.decoder.output, exact.head
weight = second.weight[:, :, 0] @ first.weight[:, :, 0]  # (1, 64)
bias = second.weight[:, :, 0] @ first.bias + second.bias  # (1,)
x = torch.randn(2, 64, 33, dtype=torch.float64)
one = torch.einsum("oi,bil->bol", weight, x) + bias[:, None]
torch.testing.assert_close(second(first(x)), one)

# %% [markdown]
# Nothing. A linear map after a linear map is a linear map, and the 19 maps in between have no meaning of their own: no
# label ever asks for one. It costs 1,255 parameters where 65 do, harms nobody, and stays, so that counts and weights agree
# with the published network. `fuse_for_inference` merges it, and folds each batch norm into its convolution (exercise 08.3):

# %%
from helpers.models import fuse_for_inference

fused = fuse_for_inference(exact)
with torch.inference_mode():
    torch.testing.assert_close(fused(stretch), exact(stretch))
print(f"{sum(row.gflop for row in count_stages(fused)):.2f} GFLOP")

# %% [markdown]
# ## One line that silences the state
# <a id="lab-silenced"></a>
#
# After building the network, the reference walks over all of its modules and draws their weights anew: Kaiming for
# convolutions, Xavier for linear maps, biases zero. That is good manners for a U-Net. But inside each Mamba-2 there are a
# convolution and two linear maps, too. `reinitialize_globally` does what the reference does.
#
# **Guess:** A, dt and D, the parameters of the state itself, are no convolution and no linear map. They are left alone. What
# happens to the state?
#
# Inside the block two things are added before the gate: what the *state* remembers, and the *skip* D·x of the present step. We
# go through a block by hand, as far as these two, and compare their sizes (root mean square). That is done for every block of the
# network, on the input that it gets of real EEG.

# %%
from torch.nn import functional as F

from helpers.models import Mamba2, reinitialize_globally, ssd_chunked


def state_over_skip(block, u):
    d, n, heads = block.d_inner, block.d_state, block.nheads
    _, xBC, dt = block.in_proj(u).split([d, d + 2 * n, heads], dim=-1)
    xBC = F.silu(block.conv1d(xBC.mT)[..., : u.shape[1]]).mT
    x, B, C = xBC.split([d, n, n], dim=-1)
    x = x.unflatten(-1, (heads, -1))  # (batch, steps, heads, headdim)
    dt, A = F.softplus(dt + block.dt_bias), -torch.exp(block.A_log)
    state = ssd_chunked(x, dt, A, B[:, :, None], C[:, :, None])
    return (state.norm() / (block.D[:, None] * x).norm()).item()


# %%
def ratios(network, eeg):
    blocks = [m for m in network.modules() if isinstance(m, Mamba2)]
    inputs = {}
    hooks = [
        block.register_forward_pre_hook(
            lambda block, u: inputs.update({block: u[0]})
        )
        for block in blocks
    ]
    with torch.no_grad():
        network.eval()(eeg)
        for hook in hooks:
            hook.remove()
        return [state_over_skip(block, inputs[block]) for block in blocks]


# %% [markdown]
# Now the network of before with the initialization of Mamba-2's authors, and a copy of it that was drawn anew. First what the
# copy has kept, in all twelve blocks:

# %%
redrawn = reinitialize_globally(copy.deepcopy(tuned))
redrawn = with_statistics(redrawn, stretches)
old, new = tuned.state_dict(), redrawn.state_dict()
state = [name for name in old if name.endswith(("A_log", "dt_bias", "D"))]
same = sum(torch.equal(old[name], new[name]) for name in state)
print(f"{same} of {len(state)} tensors A_log, dt_bias and D as they were")

# %% [markdown]
# To see what does it, we give the old network only some of the new parameters at a time, chosen by their names. (With all of
# them come the statistics of the batch norms, too.) **Guess** again: the linear maps or the convolution? Of that, its weights or its biases?

# %%
TAKEN = {
    "nothing": (),
    "linear_maps": ("_proj",),
    "weights": ("conv1d.weight",),
    "biases": ("conv1d.bias",),
    "convolution": ("conv1d",),
    "both": ("_proj", "conv1d"),
    "everything": ("",),  # outside of the blocks, too
}


# %%
def with_new(parts):
    network = copy.deepcopy(tuned)
    taken = [name for name in new if any(part in name for part in parts)]
    network.load_state_dict({name: new[name] for name in taken}, strict=False)
    return network


# %%
quiet = stretches[:1]  # 15 seconds of EEG
heard = {what: ratios(with_new(parts), quiet) for what, parts in TAKEN.items()}

# %%
from statistics import geometric_mean

mean = {what: geometric_mean(blocks) for what, blocks in heard.items()}
fainter = {what: mean["nothing"] / mean[what] for what in mean}
for what in mean:
    print(f"{what:12s} {mean[what]:.1e} {fainter[what]:7.1f} times fainter")

# %%
record(state_before=mean["nothing"])
record(**{f"fainter_{what}": factor for what, factor in fainter.items()})

# %% mystnb={"image": {"alt": "Twelve columns, one for each Mamba-2 block of the network, over a logarithmic axis: the size of what the state adds, divided by the size of the skip. Five kinds of points in each. With nothing drawn anew most lie at a few hundredths, and new linear maps leave them there. New weights of the convolution alone, or new biases alone, put most of them somewhat lower. Both together put every point far lower, from the second layer on by a factor of several hundred."}} tags=["hide-input"]
MARKS = {
    "nothing": ("o", "full", "accent", "nothing"),
    "linear_maps": ("x", "full", "ink", "linear maps"),
    "weights": ("v", "full", "quiet", "weights of the convolution"),
    "biases": ("^", "none", "quiet", "its biases"),
    "convolution": ("s", "full", "marked", "weights and biases"),
}
with style():
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    places = np.arange(1, 13)
    for what, (mark, fill, color, label) in MARKS.items():
        look = {"fillstyle": fill, "color": COLORS[color], "label": label}
        axes.semilogy(places, heard[what], mark, **look)
    axes.set_xticks(places, [f"{n // 2 + 1}{'fb'[n % 2]}" for n in range(12)])
    axes.set_xlabel("layer and direction (f forward, b backward)")
    axes.set_ylabel("state / skip")
    axes.legend(loc="upper right", title="drawn anew", ncols=2)
    axes.set_title("Parameters of the state untouched, and the state is gone")
plt.show()

# %% [markdown]
# The state was the smaller part from the start: <span data-result="state_before:.1e">4.8e-02</span> of the skip in the (geometric) mean,
# which is usual at initialization. After `reinitialize_globally` it is <span data-result="fainter_everything:.0f">452</span> times fainter still.
# The linear maps have no part in it (a factor of <span data-result="fainter_linear_maps:.1f">0.8</span>): Xavier draws the one before the convolution about
# as wide as torch does. It is the convolution, and neither half
# of it alone: new weights make the state <span data-result="fainter_weights:.1f">3.4</span> times fainter, biases of zero
# <span data-result="fainter_biases:.1f">2.8</span> times, the two together <span data-result="fainter_convolution:.0f">581</span> times.
#
# The weights suffer from a word, *fan-out*. Kaiming draws with a standard deviation of $\sqrt{2 / (\text{fan-out} \cdot \text{width})}$ and takes all 1,056 channels
# (1,024 of x, 16 of B, 16 of C) for the fan-out; but this convolution is depthwise, and an input feeds one. So its weights come out at
# 0.022 where its own initialization, uniform between −0.5 and 0.5, has 0.29: what x, B and C take from the input is some 13 times too small.
# As long as the biases are there, drawn from the same ±0.5, B and C keep a constant part, and through that the state is still written and read, though
# hardly chosen by the input any more. Without the biases that goes as well. The skip has one of the three small factors in it, the state the product
# of all three: beside the skip it loses those 13 twice, and the constant parts besides. <!-- given: the two formulas for a width of 4 -->
#
# The block then starts as a gated feed-forward network without memory. Does training notice? The gradient that reaches the
# parameters of the state says how loudly:


# %%
def gradient_into_state(network, eeg):
    marked = (torch.arange(eeg.shape[-1]) > eeg.shape[-1] // 2).float()
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    network.zero_grad()
    loss(network(eeg), marked[None]).backward()
    blocks = [m for m in network.modules() if isinstance(m, Mamba2)]
    return sum(b.A_log.grad.norm() / b.D.grad.norm() for b in blocks) / 12


# %%
silenced = with_new(TAKEN["everything"])
loud = gradient_into_state(tuned, quiet).item()
faint = gradient_into_state(silenced, quiet).item()
print(f"gradient into A over that into D: {loud:.1e}, then {faint:.1e}")
record(gradient_fainter=loud / faint)

# %% [markdown]
# The skip hears the labels <span data-result="gradient_fainter:.0f">578</span> times more loudly, relative to the state, than it
# did with the sound initialization. Training may bring the state back in time; nobody who started so has measured how long it
# takes. `SeizureDetector` keeps the authors' initialization; `reinitialize_globally` is there to study the other.

# %% [markdown]
# ## Other sizes
#
# `config` has three dials that matter for the cost: the size of the state, how a layer joins its directions, and whether it
# is Mamba at all. **Guess:** which one halves the operations of the Mamba layers?

# %% nbmake={"mock": {"VARIANTS": {"one shared block a layer": {"mixing": "shared"}, "reference, d_state 16": {}}}}
VARIANTS = {
    "reference, d_state 16": {},
    "d_state 64": {"d_state": 64},
    "d_state 128": {"d_state": 128},
    "one shared block a layer": {"mixing": "shared"},
    "no Mamba layers": {"mamba_layers": 0},
}

# %%
from helpers.benchmarks.stages import measure_whole

took = {}
for name, options in VARIANTS.items():
    variant = SeizureDetector(**options).to(device)
    sizes = count_stages(variant)
    cost = measure_whole(variant, BATCH, LENGTH, REPEATS, training=False)
    took[name] = cost.inference_ms / BATCH
    print(
        f"{name:25s} {sum(row.parameters for row in sizes):11,d}"
        f" {sum(row.gflop for row in sizes):6.1f} GFLOP"
        f" {took[name]:8.2f} ms a window"
    )

# %%
shared_times = took["one shared block a layer"] / took["reference, d_state 16"]
print(f"one shared block: {shared_times:.2f} times the reference's time")
record(shared_times=shared_times)

# %% [markdown]
# A state eight times as large costs few parameters and few operations: most of both are in the projections around it. One
# shared block for both directions (the form is that of Hydra; [chapter 07](07_bidirectional.ipynb) takes it apart) saves more than half of what
# the layers hold. And yet, on the GPU that made this page, it took <span data-result="shared_times:.2f">1.55</span> times as long: in `mamba_ssm` one fused
# kernel does convolution, scan and gate of Mamba-2, while the shared block has only its scan from there. Count operations, and then take the time. Whether either finds more seizures is a question for training.

# %% [markdown]
# ## What a window costs
# <a id="lab-cost"></a>
#
# Field note C plans with a memory of "~4GB for batch_size=64". And much hope rests on faster kernels for Mamba. Both can be
# measured: the whole network, in inference and in training (forward, loss, backward, AdamW), and once more without its Mamba layers.

# %%
whole = measure_whole(model, BATCH, LENGTH, REPEATS)
bare = SeizureDetector(mamba_layers=0).to(device)
without = measure_whole(bare, BATCH, LENGTH, REPEATS)
for name, cost in (("whole", whole), ("without Mamba", without)):
    gib = (
        ""
        if cost.training_mib is None
        else f", {cost.training_mib / 1024:.1f} GiB"
    )
    print(
        f"{name:14s} inference {cost.inference_ms:7.1f} ms, "
        f"training {cost.training_ms:7.1f} ms{gib}"
    )

# %%
bound = whole.training_ms / without.training_ms
record(
    step_ms=whole.training_ms,
    inference_ms=whole.inference_ms,
    windows_a_second=1000 * BATCH / whole.inference_ms,
    bound=bound,
)
print(f"free Mamba layers would make a step {bound:.2f} times faster")

# %% [markdown]
# That last line is the whole of performance planning in one division (its name is Amdahl's law). However good a kernel for
# Mamba-2 is, even one that takes no time at all, a training step gets no more than <span data-result="bound:.2f">1.90</span> times
# faster, because the rest stays. Whoever wants more has to work on the rest: convolutions, batch norms, and the copies
# between their memory layouts. Chapter 14 does both (to come).
#
# On the machine that made this page a training step of <span data-result="batch:d">64</span> windows took
# <span data-result="step_ms:.0f">144</span> ms, and inference ran at <span data-result="windows_a_second:.0f">1648</span> windows a second.
#
# And by part: each stage's time when it is run by itself, and the memory that it *keeps*, which is what its forward pass leaves there for the
# backward pass. (`measure_stages` catches every tensor that autograd saves, and counts each piece of memory once, for the first stage
# that keeps it. So these numbers add up. The times nearly do.)

# %%
kept = by_part(costs, lambda cost: cost.kept_mib)
spent = by_part(costs, lambda cost: cost.training_ms)
read = by_part(costs, lambda cost: cost.inference_ms)
for part in PARTS:
    print(
        f"{part:8s} inference {read[part]:7.1f} ms, training "
        f"{spent[part]:7.1f} ms, keeps {kept[part]:6.0f} MiB"
    )

# %%
kept_gib = sum(kept.values()) / 1024
fixed_gib = 4 * 4 * total / 2**30  # weight, gradient, two moments of AdamW
peak_gib = (whole.training_mib or 0) / 1024
print(f"kept by all stages             {kept_gib:5.1f} GiB")
print(f"weights, gradients and moments {fixed_gib:5.1f} GiB")
print(f"peak of a whole training step  {peak_gib:5.1f} GiB")

# %%
record(
    kept_gib=kept_gib,
    kept_mamba=100 * kept["mamba"] / sum(kept.values()),
    fixed_gib=fixed_gib,
    gib=peak_gib,
    over_plan=peak_gib * 2**30 / 4e9,
)

# %% [markdown]
# (Without a GPU the peak is not measured, and shows as 0.) What is kept, <span data-result="kept_gib:.1f">11.9</span> GiB, grows with the batch, and the Bi-Mamba-2 layers
# keep <span data-result="kept_mamba:.0f">56</span> percent of it. Weights, gradients and AdamW's moments take <span data-result="fixed_gib:.1f">0.5</span> GiB at any batch.
# The peak of the step, with what it needs for a moment, is <span data-result="gib:.1f">12.6</span> GiB: <span data-result="over_plan:.1f">3.4</span>
# times the plan of 4 GB, and that in 16-bit arithmetic.
#
# And without any GPU? One window, the fused copy, on the processor of the same machine:

# %%
import time as clock

from helpers.environment import keep_freed_memory

keep_freed_memory()
reader, seconds = fuse_for_inference(SeizureDetector().eval()), []
with torch.inference_mode():
    for _ in range(1 + REPEATS):
        began = clock.perf_counter()
        reader(window)
        seconds.append(clock.perf_counter() - began)
cpu_ms = 1000 * min(seconds[1:])
print(f"{cpu_ms:.0f} ms a window on {torch.get_num_threads()} CPU threads")
record(cpu_ms=cpu_ms, cpu_threads=torch.get_num_threads())

# %% [markdown]
# <span data-result="cpu_ms:.0f">131</span> ms for a minute of EEG, on <span data-result="cpu_threads:d">16</span> threads. On a machine with
# <span data-result="cpu/cpu_threads:d">2</span> it took <span data-result="cpu/cpu_ms:.0f">513</span> ms, still a small part of the minute.
#
# **One more claim to lay aside:** that a network like this handles "24-hour recordings" because state space layers are linear
# in the length. Each window of 60 seconds is read alone. An hour is 60 windows (or 360, at one every 10 s), a day 24 times
# that, whatever stands at the bottom: with attention there the cost would be linear in the hours just the same.

# %% [markdown]
# ## What can go wrong here
#
# **A length that does not halve four times.** Nothing is padded behind your back:

# %%
from helpers.environment import expect_error

with expect_error(ValueError, match="length 15000 is no multiple of 16"):
    tuned(window[:, :, :15000])

# %% [markdown]
# **Weights of a stand-in, or a stand-in for weights.** Names are compared strictly, so that neither passes for the other:

# %%
with expect_error(RuntimeError, match="Missing key"):
    tuned.mamba[0].load_state_dict(stand_in.mamba[0].state_dict())

# %% [markdown]
# **Training mode.** Batch norms then use the statistics of the batch, so the answer for a window depends on its neighbors.
# Here is one window alone, and beside another one. (With dropout on, no two calls would agree, either.)

# %%
pair = stretches[:2, :, :1920]  # (2, 19, 1920)
trial = copy.deepcopy(tuned)  # training mode overwrites statistics
with torch.no_grad():
    for mode in (True, False):
        trial.train(mode)
        off = (trial(pair[:1])[0] - trial(pair)[0]).abs().max()
        print("training mode:  " if mode else "evaluation mode:", f"{off:.1e}")

# %% [markdown]
# **Channels in another order.** This one raises nothing at all. A channel is a row, and every order of 19 rows fits:

# %%
shuffled = torch.randperm(19, generator=torch.Generator().manual_seed(SEED))
with torch.no_grad():
    right, wrong = tuned(pair[:1]), tuned(pair[:1, shuffled])
print(f"{(wrong - right).abs().max() / right.std():.1f} standard deviations")

# %% [markdown]
# | you see | because | do |
# |---|---|---|
# | 13.4 million parameters | the stand-in was counted | look at `config["backend"]`; see <a href="#lab-count">where it comes from</a> |
# | the answer changes from call to call | training mode | `model.eval()` |
# | a size error deep in the decoder, in other programs | a length that is no multiple of 16 | cut windows of 15,360 samples |
# | missing and unexpected keys | weights of another `config` | build with `SeizureDetector(**config)` from the file |
# | a trained network no better than one without Mamba | the state was <a href="#lab-silenced">silenced</a> at the start | draw the convolutions outside of Mamba-2 anew if you must, and leave its blocks alone |
# | good scores on one data set, chance on the next | another order of channels | by name, always ([chapter 09](09_recordings.ipynb)) |

# %% [markdown]
# ## Exercises
#
# **08.1** Write `seen_by(layers, index)`: the first and the last sample that step `index` of the output has seen, as a pair. `layers`
# is a list of triples (kernel size, stride, padding), from the input on; `padding` zeros stand before the input of each layer. (So the
# first sample may be negative, one of those zeros.)

# %%
from helpers.teaching import check, solution


def seen_by(layers, index): ...


check("08.1", seen_by)

# %% tags=["remove-input"]
solution("08.1")

# %% [markdown]
# **08.2** Write `rescnn_parameters(channels)`: the trainable parameters of one ResCNN block. It has three branches that read all
# channels, with kernels 3, 5 and 7; the first two give `channels // 3` each and the third the rest. Then comes a 1×1
# convolution from `channels` to `channels`. Each of the four convolutions has a bias and is followed by a batch norm.


# %%
def rescnn_parameters(channels): ...


check("08.2", rescnn_parameters)

# %% tags=["remove-input"]
solution("08.2")

# %% [markdown]
# **08.3** Write `folded(weight, bias, norm)`: weight and bias of the one convolution that does what a convolution and then the batch norm
# `norm` do in evaluation mode. Weights are tensors (out, in, kernel), biases (out,). `norm` is a `torch.nn.BatchNorm1d` with its
# `weight`, `bias`, `running_mean`, `running_var` and `eps`.


# %%
def folded(weight, bias, norm): ...


check("08.3", folded)

# %% tags=["remove-input"]
solution("08.3")

# %% [markdown]
# **08.4** Write `speed_up(whole, without, factor)`: how many times faster a step gets that takes `whole` ms, `without` ms of
# which have nothing to do with Mamba, when its Mamba part becomes `factor` times faster. (`factor` may be `math.inf`.)


# %%
def speed_up(whole, without, factor): ...


check("08.4", speed_up)

# %% tags=["remove-input"]
solution("08.4")

# %% [markdown]
# **In a terminal**, run `workbook count --d-state 128 --mixing shared`, then `workbook count --backend conv1d`. Which line of
# the table changes, and which total does the second one give?
#
# ## Recap
#
# - U-Net, ResCNN and Bi-Mamba-2: 19 × 15,360 samples go in, 512 channels at 16 steps a second pass the bottom, 15,360
#   logits come out.
# - 32,606,439 parameters. 13,397,799 of a stand-in are another network; count what runs.
# - Parameters, operations and time are three counts, and each puts another weight on each part.
# - A step has seen half a second after the encoder, less than two after ResCNN, and the whole stretch after one Mamba layer. What
#   is faster than 8 Hz has its straight way through the skips; through the bottom only as a code that training would have to find.
# - Two linear maps in a row are one.
# - Global re-initialization leaves `A_log`, `dt_bias` and `D` as they are and silences the state all the same, by the weights and the
#   biases of a short convolution.
# - Memory in training is mostly what the forward pass keeps for the backward pass, and grows with the batch.
# - The time without a part bounds what any kernel for that part can win.
#
# ## What next
#
# Part III gives the network something to learn from: [chapter 09](09_recordings.ipynb) reads recordings and prepares
# them; windows, labels and training follow (to come). Chapter 14 comes back to the milliseconds (to come).
