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
# - silence the state space layers with a common line of initialization code, and measure the silence;
# - know what a window costs, and which part is worth making faster.
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
print("most time:", slowest.name, f"{slowest.training_ms:.1f} ms in training")
record(slowest=slowest.name, batch=BATCH)

# %% [markdown]
# Where this page was made it is `<span data-result="slowest">mamba.1</span>`. Now by part of the network, as shares of the
# whole:


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

# %% mystnb={"image": {"alt": "Four groups of horizontal bars, one group for each part of the network: encoder, ResCNN, Mamba and decoder. Each group has three bars, the share of parameters, of operations and of time in training, from 0 to 100 percent. The Bi-Mamba-2 layers lead in all three, but their share of the operations is much smaller than that of the parameters; encoder and decoder have few parameters and about twice that share of the operations."}} tags=["hide-input"]
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
# <span data-result="mamba_time:.0f">47</span> percent of the training time on this machine. What the counts do not show are stages with few
# parameters and long signals: at 256 Hz, 64 channels of a window are a million numbers, and batch norm and ReLU each read
# and write all of them without a single operation that was counted.
#
# **One honest footnote to the operations.** The state space part is computed in chunks, and the size of a chunk changes the
# count, never the result. Ours has 32 steps, the official kernels' default has 256:

# %%
for chunk_size in (32, 256):
    with torch.device("meta"):
        counted = count_stages(SeizureDetector(chunk_size=chunk_size))
    print(chunk_size, f"{sum(row.gflop for row in counted):6.2f} GFLOP")

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
# without it. **Guess** what the burst looks like in the finest skip, and what in a map at the bottom.

# %%
time = torch.arange(3840) / 256
burst = torch.exp(-(((time - 7.5) / 0.15) ** 2) / 2)
burst = 2 * burst * torch.sin(2 * torch.pi * 20 * (time - 7.5))


def inside(eeg, with_skips=True):
    bottom, skips = tuned.encoder(eeg)
    bottom = tuned.rescnn(bottom)
    used = skips if with_skips else [torch.zeros_like(s) for s in skips]
    logits = tuned.head(tuned.decoder(tuned.mamba(bottom.mT).mT, used))
    return skips[0][0], bottom[0], logits[0]  # at 256, 16 and 256 Hz


# %%
def changes(with_skips):
    """What the burst changes: in each place the map that it moves most."""
    with torch.inference_mode():
        before = inside(stretches[:1], with_skips)
        after = inside(stretches[:1] + burst, with_skips)
    moved = [b - a for a, b in zip(before, after, strict=True)]
    return [maps[maps.std(dim=1).argmax()] for maps in moved]


skip, bottom, answer = changes(with_skips=True)
alone = changes(with_skips=False)[-1]

# %%
wave = torch.exp(-2j * torch.pi * 20 * time)
times = ((answer * wave).sum().abs() / (alone * wave).sum().abs()).item()
print(f"in the output at 20 Hz, with skips over without: {times:.0f} times")
record(skips_over_none=times)

# %% mystnb={"image": {"alt": "Four curves above each other over two seconds. First the burst that was added to the EEG, a 20 hertz wave that swells and fades. Second a map of the finest skip, which follows the wave peak by peak. Third a map at the bottom, drawn as stairs of 62 milliseconds, one or two of them high and nothing of the wave left. Fourth the output: with skips it jumps up and down as long as the burst lasts, without skips it hardly moves."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(
        4, 1, figsize=(8, 6), sharex=True, layout="constrained"
    )
    axes[0].plot(time, burst, color=COLORS["ink"], linewidth=1)
    axes[1].plot(time, skip, color=COLORS["accent"], linewidth=1)
    middles = (np.arange(240) + 0.5) / 16
    axes[2].step(middles, bottom, where="mid", color=COLORS["accent"])
    axes[3].plot(time, answer, color=COLORS["accent"], label="with skips")
    axes[3].plot(time, alone, color=COLORS["marked"], label="without")
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
# The skip has the wave's rhythm, its troughs cut off by ReLU. The map at the bottom has a few stairs: it can say that something happened, and about
# when. In the output, what belongs to 20 Hz is <span data-result="skips_over_none:.0f">10</span> times smaller once the skips
# are zeros. (It is jagged because the decoder's weights are random, too. And take the factor with care: its
# batch norms had their statistics from a network with skips.) What is fast travels along the top of the drawing; what is slow or far away has to go through the bottom.

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
# with the published network. `fuse_for_inference` merges it, and folds each batch norm into its convolution:

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
# take them apart by setting D to zero, and compare their sizes (root mean square), in every block of the network, on the real
# window.

# %%
from helpers.models import Mamba2, reinitialize_globally


def before_the_gate(block, u):
    caught = []
    hook = block.norm.register_forward_pre_hook(
        lambda _, inputs: caught.append(inputs[0])
    )
    block(u)
    hook.remove()
    return caught[0]  # (batch, steps, d_inner)


# %%
def state_over_skip(block, u):
    both, D = before_the_gate(block, u), block.D.detach().clone()
    block.D.zero_()
    state = before_the_gate(block, u)
    block.D.copy_(D)
    return (state.norm() / (both - state).norm()).item()


# %%
def ratios(network, eeg):
    blocks = [m for m in network.modules() if isinstance(m, Mamba2)]
    inputs = {}
    hooks = [
        block.register_forward_pre_hook(
            lambda block, u: inputs.setdefault(block, u[0])
        )
        for block in blocks
    ]
    with torch.no_grad():
        network.eval()(eeg)
        for hook in hooks:
            hook.remove()
        return [state_over_skip(block, inputs[block]) for block in blocks]


# %% [markdown]
# `setdefault` keeps the input that each block got in the pass of the whole network. Now the same network twice: with the
# initialization of Mamba-2's authors, and with that of the reference, both with real statistics in their batch norms.

# %%
import copy

silenced = reinitialize_globally(copy.deepcopy(tuned))
silenced = with_statistics(silenced, stretches)
same = torch.equal(
    tuned.mamba[0].forward_ssm.A_log, silenced.mamba[0].forward_ssm.A_log
)
print("A as it was:", same)

# %%
quiet = stretches[:1]  # 15 seconds of EEG
before, after = ratios(tuned, quiet), ratios(silenced, quiet)

# %%
mean = torch.tensor([before, after]).log().mean(dim=1).exp()  # geometric
print(f"state over skip: {mean[0]:.1e} before, {mean[1]:.1e} after")
record(state_before=mean[0], state_after=mean[1], fainter=mean[0] / mean[1])

# %% mystnb={"image": {"alt": "Twelve pairs of points, one pair for each Mamba-2 block of the network, over a logarithmic axis: the size of what the state adds, divided by the size of the skip. With the authors' initialization most points lie at a few hundredths. After global re-initialization every point lies far lower, most of them by a factor of several hundred."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    places = np.arange(1, 13)
    axes.semilogy(
        places, before, "o", color=COLORS["accent"], label="Mamba-2's own"
    )
    axes.semilogy(
        places, after, "s", color=COLORS["marked"], label="re-initialized"
    )
    axes.set_xticks(places, [f"{n // 2 + 1}{'fb'[n % 2]}" for n in range(12)])
    axes.set_xlabel("layer and direction (f forward, b backward)")
    axes.set_ylabel("state / skip")
    axes.legend(loc="upper right")
    axes.set_title("Parameters of the state untouched, and the state is gone")
plt.show()

# %% [markdown]
# The state was the smaller part from the start: <span data-result="state_before:.1e">4.8e-02</span> of the skip in the (geometric) mean,
# which is usual at initialization. Afterwards it is <span data-result="fainter:.0f">452</span> times fainter still. Most of the reason is a word,
# *fan-out*. Kaiming draws with a standard deviation of $\sqrt{2 / (\text{fan-out} \cdot \text{width})}$ and takes all 1,056 channels
# (1,024 of x, 16 of B, 16 of C) for the fan-out; but this convolution is depthwise, and an input feeds one. So its weights come out at
# 0.022 where its own initialization, uniform between −0.5 and 0.5, has 0.29: x, B and C are each some 13 times too small.
# The skip has one of the three in it, the state the product of all three: beside the skip it loses that factor twice. (The linear maps
# and the biases, drawn anew too, do the rest.) <!-- given: the two formulas for a width of 4 -->
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
heard = gradient_into_state(tuned, quiet).item()
unheard = gradient_into_state(silenced, quiet).item()
print(f"gradient into A over that into D: {heard:.1e}, then {unheard:.1e}")
record(gradient_fainter=heard / unheard)

# %% [markdown]
# The skip hears the labels <span data-result="gradient_fainter:.0f">578</span> times more loudly, relative to the state, than it
# did with the sound initialization. Training may bring the state back in time; nobody who started so has measured how long it
# takes. `SeizureDetector` keeps the authors' initialization; `reinitialize_globally` is there to study the other.

# %% [markdown]
# ## Other sizes
#
# `config` has three dials that matter for the cost: the size of the state, how a layer joins its directions, and whether it
# is Mamba at all. **Guess:** which one halves the operations of the Mamba layers?

# %% nbmake={"mock": {"VARIANTS": {"no Mamba layers": {"mamba_layers": 0}}}}
VARIANTS = {
    "reference, d_state 16": {},
    "d_state 64": {"d_state": 64},
    "d_state 128": {"d_state": 128},
    "one shared block a layer": {"mixing": "shared"},
    "no Mamba layers": {"mamba_layers": 0},
}

# %%
from helpers.benchmarks.stages import measure_whole

for name, options in VARIANTS.items():
    variant = SeizureDetector(**options).to(device)
    counted = count_stages(variant)
    cost = measure_whole(variant, BATCH, LENGTH, REPEATS, training=False)
    print(
        f"{name:25s} {sum(row.parameters for row in counted):11,d}"
        f" {sum(row.gflop for row in counted):6.1f} GFLOP"
        f" {cost.inference_ms / BATCH:8.2f} ms a window"
    )

# %% [markdown]
# A state eight times as large costs few parameters and few operations: most of both are in the projections around it. One
# shared block for both directions (the form is that of Hydra; [chapter 07](07_bidirectional.ipynb) takes it apart) saves more than half of what
# the layers hold. And yet, on the H100 that made this page, it took half as long again: in `mamba_ssm` one fused kernel does convolution, scan and gate of
# Mamba-2, while the shared block has only its scan from there. Count operations, and then take the time. Whether either finds more seizures is a question for training.

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
    gib=(whole.training_mib or 0) / 1024,
)
print(f"free Mamba layers would make a step {bound:.2f} times faster")

# %% [markdown]
# That last line is the whole of performance planning in one division (its name is Amdahl's law). However good a kernel for
# Mamba-2 is, even one that takes no time at all, a training step gets no more than <span data-result="bound:.2f">1.90</span> times
# faster, because the rest stays. Whoever wants more has to work on the rest: convolutions, batch norms, and the copies
# between their memory layouts. Chapter 14 does both (to come).
#
# On the machine that made this page a training step of <span data-result="batch:d">64</span> windows took
# <span data-result="step_ms:.0f">144</span> ms and <span data-result="gib:.1f">12.6</span> GiB; inference ran at
# <span data-result="windows_a_second:.0f">1648</span> windows a second. And by part, each stage
# run by itself. (The times nearly add up to the whole. The memory does not: it is the sum of each stage's own peak, and stages do not peak
# together. It says where to look, no more.)

# %%
kept = by_part(costs, lambda cost: cost.training_mib or 0)
spent = by_part(costs, lambda cost: cost.training_ms)
read = by_part(costs, lambda cost: cost.inference_ms)
for part in PARTS:
    print(
        f"{part:8s} inference {read[part]:7.1f} ms, training "
        f"{spent[part]:7.1f} ms, {kept[part]:6.0f} MiB"
    )

# %% [markdown]
# (Without a GPU the memory is not measured, and shows as 0.) So the plan of 4 GB was a third of what it takes, in 16-bit
# arithmetic.
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
# <span data-result="cpu_ms:.0f">119</span> ms for a minute of EEG, on <span data-result="cpu_threads:d">16</span> threads. With two
# threads it is some four times as long ([chapter 00](00_start_here.ipynb) measured that), and still a small part of the minute.
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
with torch.no_grad():
    for mode in (True, False):
        tuned.train(mode)
        off = (tuned(pair[:1])[0] - tuned(pair)[0]).abs().max()
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
# **08.1** Write `field_of(layers)`: the receptive field of a chain of convolutions, as the pair (samples seen, samples between
# two steps). `layers` is a list of pairs (kernel size, stride), from the input on.

# %%
from helpers.teaching import check, solution


def field_of(layers): ...


check("08.1", field_of)

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
# **08.3** Write `one_map(weight_1, bias_1, weight_2, bias_2)`: weight and bias of the single linear map that does what the
# first and then the second does. Weights are tensors (out, in), biases (out,).


# %%
def one_map(weight_1, bias_1, weight_2, bias_2): ...


check("08.3", one_map)

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
# - Global re-initialization leaves `A_log`, `dt_bias` and `D` as they are and silences the state all the same.
# - The time without a part bounds what any kernel for that part can win.
#
# ## What next
#
# Part III gives the network something to learn from: [chapter 09](09_recordings.ipynb) reads recordings and prepares
# them; windows, labels and training follow (to come). Chapter 14 comes back to the milliseconds (to come).
