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
# # Two directions, one answer
#
# A Mamba-2 block reads forward in time. A recording that lies on a disk can be read backward as well, and then every
# step knows what came before it and what comes after. This chapter shows how two directions are made of one, three ways
# to join them, and what is lost when a convolution stands where the Mamba should be.
#
# **You will**
#
# - see what one direction cannot know, on a real recording and in a picture of a layer;
# - build the other direction from the first with two flips, and pay its price;
# - join both in three ways, and count what each costs;
# - recognize the Conv1d stand-in, whose shapes and losses look right;
# - train it, larger than the rest, on a task that needs memory, and find the step at which it stops knowing;
# - read from a result which network made it.
#
# **You need** PyTorch, and two things from [chapter 05](05_ssm_to_ssd.ipynb) and [chapter 06](06_mamba2_block.ipynb): a *state
# space model* carries a state from step to step, and `Mamba2` is a block around one, causal, from `(batch, length, d_model)` to
# the same shape. The [glossary](../book/glossary.md) has the words.

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
import numpy as np
import torch
from torch import nn

from helpers.detection import best_device
from helpers.models import BiMamba2, Mamba2
from helpers.teaching import COLORS, explore, record, style

device = best_device()
SEED = 7
device

# %% [markdown]
# ## What one direction cannot know
#
# Two moments of the recording of chapter 00, a routine EEG of a child with absence epilepsy
# ([eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/), Christopher Lee-Messer, BSD-3-Clause). In both, large waves begin
# at 0, the dashed line. One is a seizure. The other is a discharge: waves of the same kind, too short to be called one. What lies
# under the gray has not been recorded yet. The slider above the figure sets how many seconds you have seen since the waves began.
#
# **Guess** with half a second, where the slider stands first, which of the two is the seizure. Then move it to the right, one stop at
# a time: the gray draws back in both panels. At which stop are you sure?

# %% tags=["hide-input"]
from helpers.eeg import average_reference, load

raw = load("absence")
BEGINS = {"A": 800.6, "B": 1380.4}  # s
pieces = {}
for name, begin in BEGINS.items():
    piece = raw.copy().crop(begin - 2, begin + 4)
    pieces[name] = average_reference(piece).get_data(picks=["F3", "Cz", "O2"])
rate = raw.info["sfreq"]


# %% tags=["hide-input"]
def first_seconds(seen):
    shown = round((2 + seen) * rate)
    with style():
        figure, panels = plt.subplots(
            1, 2, figsize=(9, 3.2), sharey=True, layout="constrained"
        )
        for axes, (name, piece) in zip(panels, pieces.items(), strict=True):
            for row, trace in enumerate(piece[:, :shown] * 1e6):
                seconds = np.arange(len(trace)) / rate - 2
                axes.plot(
                    seconds,
                    trace - 500 * row,
                    color=COLORS["ink"],
                    linewidth=0.8,
                )
            axes.axvspan(seen, 4, color=COLORS["line"], linewidth=0)
            axes.axvline(0, color=COLORS["marked"], linestyle="--")
            axes.set(xlim=(-2, 4), xlabel="time (s)", title=name)
        panels[0].set_yticks([0, -500, -1000], ["F3", "Cz", "O2"])
        panels[0].set_ylabel("rows 500 µV apart")
    return figure


def said_of_first_seconds(seen):
    text = f"Two stretches of EEG, A and B, three channels each, up to {seen:g} s after large waves begin at time 0; gray covers the rest. "
    if seen < 1.8:
        return text + "In both, large waves about three times a second."
    longer = "go on" if seen < 3.5 else "went on for about three seconds"
    return text + f"In A the waves have stopped; in B they {longer}."


explore(
    first_seconds,
    alt=said_of_first_seconds,
    seen=("seen since the waves began (s)", [0.5, 1.0, 1.5, 2.0, 4.0]),
)

# %% [markdown]
# A is the discharge: it is over after little more than a second. B was marked as a seizure. A detector has to label *each*
# sample, the first one too, when all that there is to see is that something begins. What decides comes later.
#
# A causal block is where you were at 0.5 s. Here is one, and an input:

# %%
torch.manual_seed(SEED)
forward = Mamba2(8, d_state=16, headdim=4, backend="torch")
x = torch.randn(1, 24, 8)  # (batch, length, d_model)
forward(x).shape

# %% [markdown]
# To see what reads what, ask autograd: how much does output $i$ move when input $j$ does? All pairs make a matrix, one row
# for each output, one column for each input. We call it the *influence*.


# %%
def influence(layer, x):
    """Sizes of the derivatives of output i by input j: (length, length)."""
    jacobian = torch.autograd.functional.jacobian(layer, x)
    return jacobian.abs().sum((0, 2, 3, 5))  # (1, 24, 8, 1, 24, 8) to (24, 24)


# %%
one_way = influence(forward, x)
one_way.shape

# %% [markdown]
# **Guess** where this matrix is exactly zero.

# %% tags=["hide-input"]
from matplotlib.colors import LogNorm, Normalize


def show_influence(matrices, log=True):
    sizes = {name: matrix.abs() for name, matrix in matrices.items()}
    top = max(float(size.max()) for size in sizes.values())
    norm = LogNorm(top * 1e-5, top) if log else Normalize(0, top)
    with style():
        figure, panels = plt.subplots(
            1,
            len(matrices),
            figsize=(1.5 + 2.6 * len(matrices), 3.3),
            squeeze=False,
            layout="constrained",
        )
        for axes, (name, size) in zip(panels[0], sizes.items(), strict=True):
            read = torch.where(size == 0, torch.nan, size)  # zero stays white
            picture = axes.imshow(read, norm=norm, cmap="viridis_r")
            axes.set(title=name, xlabel="input step j")
        panels[0, 0].set_ylabel("output step i")
        figure.colorbar(
            picture,
            ax=panels,
            label="influence (output / input)\nwhite: none",
            shrink=0.8,
        )
    plt.show()


# %% mystnb={"image": {"alt": "A 24 by 24 matrix, output steps downward and input steps to the right, colored by influence on a logarithmic scale. Everything on and below the diagonal is colored, strongest on the diagonal and weaker to the left; everything above the diagonal is white, which means exactly zero."}}
show_influence({"forward": one_way})
above = torch.triu(one_way, 1)
print("largest above the diagonal:", above.max().item())

# %% [markdown]
# It is zero above the diagonal, where $j$ lies after $i$. An output reads its past and itself, never its future: a *causal* layer. The
# dark band, four steps wide, is the short convolution inside the block. Whatever is colored to the left of it came through the
# state: weaker, and from any distance.

# %% [markdown]
# ## Flip, run, flip
# <a id="lab-flip"></a>
#
# We have a layer that reads forward, and want one that reads backward. No new layer is needed.
#
# **Guess** what has to stand for the dots: *flip the time, run, …*


# %%
def backward(x):
    return forward(x.flip(1)).flip(1)  # dimension 1 is time


def both(x):
    return forward(x) + backward(x)


# %% mystnb={"image": {"alt": "Three 24 by 24 influence matrices side by side. Forward: colored on and below the diagonal, white above. Backward: colored on and above the diagonal, white below. Forward plus backward: colored everywhere, strongest on the diagonal."}}
show_influence(
    {
        "forward": one_way,
        "backward": influence(backward, x),
        "forward + backward": influence(both, x),
    }
)

# %% [markdown]
# *… and flip back.* The first flip lets the block read the last step first. Its answers come out in that order, too, so the
# second flip puts each at its own place. Forget it, and the answer for the first step stands at the last: no error, no
# other shape.
#
# In matrices: if $M$ is a causal map, a lower triangle, and $J$ the flip, ones on the other diagonal, then the backward map is
# $J M J$. One $J$ turns the rows round, the other the columns.

# %%
M = torch.tril(torch.arange(1.0, 17).reshape(4, 4))
J = torch.eye(4).flip(0)
print(M, J @ M @ J, sep="\n")

# %% [markdown]
# In the detector the two directions are two blocks with weights of their own, $M_f$ and $M_b$. We used one for both, to see the
# flips alone.
#
# ### The price
#
# A causal layer can work while the recording is made. It takes the next piece and the state that the last piece left, and
# gives what it would have given for the whole:

# %%
early, late = x[:, :16], x[:, 16:]
y_early, state = forward(early, return_state=True)
y_late = forward(late, state)
in_pieces = torch.cat([y_early, y_late], dim=1)
print(f"forward: off by {(in_pieces - forward(x)).abs().max():.0e}")

# %% [markdown]
# **Guess** which of the two pieces is right when the backward direction does the same, without a state, as nobody has one yet.

# %%
in_pieces = torch.cat([backward(early), backward(late)], dim=1)
off = (in_pieces - backward(x)).detach().abs().amax(dim=(0, 2))
print(f"first piece: off by {off[:16].max():.0e}")
print(f"last piece:  off by {off[16:].max():.0e}")

# %% [markdown]
# The last piece is right. The first one needs the state that the second piece leaves, and when the first is read the second has
# not happened. So a bidirectional layer waits for the end of its window. In this book a window has 60 seconds, so what
# is said about its first sample comes a minute later: fine for reading recordings, nothing for an alarm at the bedside.
# And it reads nothing beyond the window, on either side.

# %% [markdown]
# ## Three ways to join
# <a id="lab-joins"></a>
#
# A layer of the detector adds what it finds to its input and normalizes: $y = \text{LayerNorm}(x + \text{branch}(x))$. The branch
# joins the directions. `BiMamba2` knows three ways:
#
# | `mixing` | branch | who does it |
# |---|---|---|
# | `"concat"` | $W\,[M_f(x),\, J M_b(J x)]$ | the [network of the field notes](https://github.com/Clarity-Digital-Twin/brain-go-brr-v2), this book's reference |
# | `"sum"` | $M_f(x) + J M_b(J x)$ | [Vim](https://github.com/hustvl/Vim) and FEMBA, each in its way |
# | `"shared"` | one block, in which the directions share all but their step sizes and their maps B and C | [Hydra](https://arxiv.org/abs/2407.09941) |

# %%
MIXINGS = ("concat", "sum", "shared")
layers = {
    mixing: BiMamba2(512, mixing, d_state=16, chunk_size=32, backend="torch")
    for mixing in MIXINGS
}

# %% [markdown]
# **Guess** before you count: how much smaller is `sum` than `concat`, and `shared` than `sum`?

# %% [markdown]
# PyTorch counts the multiplications and additions of matrix products and convolutions for us. The input has the detector's shape:
# 960 steps of 512 numbers, for a minute of EEG.

# %%
from torch.utils.flop_counter import FlopCounterMode

window = torch.randn(1, 960, 512)


@torch.no_grad()
def gflop(layer):
    with FlopCounterMode(display=False) as counter:
        layer(window)
    return counter.get_total_flops() / 1e9


# %% nbmake={"mock": {"windows": 1}}
windows = 32 if device == "cuda" else 2  # timed together


# %% tags=["hide-input"]
import time


@torch.no_grad()
def milliseconds(layer):
    layer, batch, took = layer.to(device), window.to(device), []
    batch = batch.expand(windows, -1, -1)
    for _ in range(5):
        began = time.perf_counter()
        layer(batch)
        if device == "cuda":
            torch.cuda.synchronize()  # it works in the background: wait
        took.append((time.perf_counter() - began) / windows * 1000)
    return sorted(took)[2]


# %%
for mixing, layer in layers.items():
    parameters = sum(p.numel() for p in layer.parameters())
    operations, took = gflop(layer), milliseconds(layer.eval())
    print(f"{mixing:7s} {parameters:10,d} parameters", end="  ")
    print(f"{operations:5.2f} GFLOP  {took:7.2f} ms a window")
    record(
        **{f"{mixing}_parameters": parameters, f"{mixing}_gflop": operations}
    )
    record(**{f"{mixing}_ms": took})

# %% [markdown]
# `sum` saves the map $W$ and nothing else. `shared` has one input projection and one output projection instead of two, and
# that is where nearly all parameters and operations of a block are: <span data-result="shared_gflop:.1f">3.4</span> GFLOP against
# <span data-result="concat_gflop:.1f">7.3</span>. On the machine that stored this page it takes <span data-result="shared_ms:.2f">0.25</span> ms against
# <span data-result="concat_ms:.2f">0.35</span> ms a window, on the plain PyTorch path, the same for all three. (Chapter 14 (to
# come) times the fused kernels.)
#
# What do the names hide? Two of the three are closer than they look. **Guess:** which $W$ makes `concat` and `sum` the same layer?

# %%
options = {"d_state": 16, "headdim": 4, "dropout": 0.0, "backend": "torch"}
concat, added = BiMamba2(8, **options), BiMamba2(8, "sum", **options)
added.load_state_dict(concat.state_dict(), strict=False)  # all but mix
with torch.no_grad():
    concat.mix.weight.copy_(torch.cat([torch.eye(8), torch.eye(8)], dim=1))
    concat.mix.bias.zero_()
print(f"off by {(concat(x) - added(x)).abs().max():.0e}")

# %% [markdown]
# $W = [I\; I]$, two identities side by side. So `concat` can do whatever `sum` can. Whether it is worth the larger map is a
# question of data.
#
# ### Who counts the present?
#
# `sum` has a wart. Both directions read the present step, so it is counted twice. It is easy to see on the map inside a
# block, the SSD, which is linear in its input as long as step sizes, B and C stay what they are: then it *is* a matrix, and one
# impulse at each step in turn gives its columns.

# %%
from helpers.models import ssd_chunked

L = 6  # steps
dt = 0.3 + 0.3 * torch.rand(1, L, 1)
B, C = 1 + 0.3 * torch.randn(2, 1, L, 1, 4)


# %%
def ssd_matrix(dt, B, C):
    impulses = torch.eye(L)[:, :, None, None]  # (L, length, heads 1, headdim 1)
    dt, B, C = (t.expand(L, *t.shape[1:]) for t in (dt, B, C))
    return ssd_chunked(impulses, dt, -torch.ones(1), B, C)[:, :, 0, 0].T


# %%
J = torch.eye(L).flip(0)
M_f = ssd_matrix(dt, B, C)
M_b = ssd_matrix(dt.flip(1), B.flip(1), C.flip(1))  # reads the flipped window
twice = M_f + J @ M_b @ J
print("forward alone:", M_f.diagonal().numpy().round(2))
print("forward + backward:", twice.diagonal().numpy().round(2))

# %% [markdown]
# With the same `dt`, B and C in both directions, the diagonal is exactly doubled. With different ones it is the sum of two numbers
# that mean the same. Hydra gives the present to one term alone: it *shifts* each direction's output by one step, so that
# step $t$ takes what the forward SSD gave one step before and the backward SSD one step after, and adds a diagonal of its own, which
# depends on the input:
#
# $$y_t = f_{t-1} + b_{t+1} + (D + W_D x_t)\, x_t$$
#
# | symbol | is |
# |---|---|
# | $f_{t-1}$ | what the forward SSD gave one step earlier: everything before $t$ |
# | $b_{t+1}$ | what the backward SSD gave one step later: everything after $t$ |
# | $D$ | one learned number a head |
# | $W_D x_t$ | one more number a head, from the present input (`fc_D`) |

# %%
down = torch.eye(L).roll(1, 0)  # each row one step later …
down[0] = 0  # … and nothing comes round to the first
shifted = down @ M_f + J @ down @ M_b @ J
shifted.diagonal()

# %% [markdown]
# **Guess**, before you look, where the large numbers of the doubled diagonal have gone. (Hydra learns its diagonal. Ours is as large as
# that of one direction, so that you can compare.)

# %% mystnb={"image": {"alt": "Three 6 by 6 matrices of sizes, in one scale from 0 to 4.5 that a color bar shows. Sum: all entries filled, the diagonal much darker than the rest, because both directions count the present. Shifted: the diagonal is white, zero, and the entries next to it on either side are half as dark as the diagonal of the first. Hydra: the same with a diagonal again, half as dark as that of the first."}}
own = torch.diag(M_f.diagonal())
show_influence(
    {
        "sum: present twice": twice,
        "shifted: not at all": shifted,
        "Hydra: once": shifted + own,
    },
    log=False,
)

# %% [markdown]
# They stand beside it, split again: what the forward SSD says of a step now reaches the next step, and what the backward SSD says
# of it the step before.
#
# The matrix on the right is called *quasiseparable*: one triangle from a forward state, one from a backward state, and a
# diagonal that is free. `Hydra` computes it without ever writing it down, with both directions in one call of the SSD: the
# flipped sequence is another half of the batch.
#
# ### Who hears an impulse?
#
# A column of the influence tells who hears one input step. The next figure shows one column at a time. Choose a *layer* in the menu and
# move the *input step* with the slider; the dashed line stands at that step. Each output step that hears it has a stem, on a
# logarithmic axis. Where there is no stem, the influence is exactly zero.
#
# `forward only` is the block of the beginning, the next three are layers of `BiMamba2`, one for each mixing. The last entry, `unknown`,
# is a layer with the same shapes that you will meet in a moment. All hold a short convolution, and the layers add their input to what
# they find, so the stems beside the dashed line are high. What a state carries is low, and far from the line.
#
# **Guess** before you move anything: for input step 12, which output steps have a stem in `forward only`, and which in `sum`? Then choose
# `unknown`, and look how its stems go along as you move the input step.

# %% tags=["hide-input"]
import warnings

from helpers.models import StandInWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StandInWarning)  # the next section reads it
    heard = {"forward only": one_way}
    for name, choice in {
        "concat": {"mixing": "concat"},
        "sum": {"mixing": "sum"},
        "shared": {"mixing": "shared"},
        "unknown": {"backend": "conv1d"},
    }.items():
        torch.manual_seed(SEED)
        heard[name] = influence(BiMamba2(8, **{**options, **choice}), x)


# %% tags=["hide-input"]
def who_hears(layer, step):
    column = heard[layer][:, step]
    with style():
        figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
        steps = torch.arange(24)[column > 0]
        axes.vlines(steps, 1e-6, column[column > 0], color=COLORS["accent"])
        axes.plot(steps, column[column > 0], "o", color=COLORS["accent"])
        axes.axvline(step, color=COLORS["marked"], linestyle="--")
        axes.set(xlim=(-1, 24), ylim=(1e-6, 1e2), yscale="log")
        axes.set(
            xlabel="output step",
            ylabel="influence",
            title=f"{layer}: who hears input step {step}?",
        )
    return figure


def said_of_hearing(layer, step):
    steps = torch.arange(24)[heard[layer][:, step] > 0]
    return (
        f"Influence of input step {step} on each of 24 output steps, layer {layer}, on a logarithmic axis: "
        f"outputs {steps.min()} to {steps.max()} hear it, all others not at all."
    )


explore(
    who_hears,
    alt=said_of_hearing,
    layer=("layer", list(heard)),
    step=("input step", [4, 12, 20]),
)

# %% [markdown]
# `forward only` has no stem before the line. The three mixings have stems on both sides, to both ends of the window. `unknown` has five
# stems, wherever the line stands.

# %% [markdown]
# ## The stand-in
# <a id="lab-stand-in"></a>
#
# `mamba_ssm` is hard to install (chapters [01](01_install.ipynb) and [02](02_loader.ipynb) are about nothing else). So programs guard its import, and put something in
# its place when it fails. The [program of the field notes](https://github.com/Clarity-Digital-Twin/brain-go-brr-v2/blob/main/src/brain_brr/models/mamba.py)
# catches the failed import, catches some errors of the kernels *during the forward pass* as well, prints a line, and goes on with
# a depthwise `Conv1d` in the place of each block. So a run of days can become another experiment in the middle, and only a line
# in a log says so.
#
# The stand-in is in this book too, to be studied. It never comes by itself: somebody has to write `backend="conv1d"` or set
# `SEIZURE_MAMBA_FORCE_FALLBACK=1`, and it says what it is.

# %%
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    stand_in = BiMamba2(8, backend="conv1d")
print(said[0].category.__name__)
print(said[0].message)

# %% [markdown]
# We have read it, and build many from here on:

# %%
warnings.simplefilter("ignore", StandInWarning)

# %% mystnb={"image": {"alt": "Two 24 by 24 influence matrices. Left, the bidirectional Mamba-2 layer: colored everywhere. Right, the stand-in: a narrow band along the diagonal, two steps to either side, and white everywhere else."}}
show_influence(
    {"Bi-Mamba-2": heard["concat"], "stand-in": influence(stand_in, x)}
)

# %% [markdown]
# This is the unknown layer of the explorer: two steps to either side, five in all, and exactly nothing beyond. In the
# detector these layers work at 16 steps a second:

# %%
steps = int((influence(stand_in, x)[12] > 0).sum())
milliseconds_seen = 1000 * steps / 16
print(f"{steps} steps, {milliseconds_seen:.0f} ms")
record(stand_in_steps=steps, stand_in_ms=milliseconds_seen)

# %% [markdown]
# An output of the stand-in sees <span data-result="stand_in_ms:.0f">312</span> ms. One wave of 3 Hz is longer.
#
# Everything that a quick test looks at is fine. The shape is right. The loss falls. It is fast. Gradients flow. The number
# of parameters is smaller, if anybody looks. That is the trap, and it needs a test that a memory passes and a
# window does not.

# %% [markdown]
# ## A task that needs memory
# <a id="lab-memory"></a>
#
# Now and then a cue comes, up or down. At every step we ask two questions: **what was the last cue, and what will the next one
# be?** The first needs the past, the second the future. A second channel has cues of its own that mean nothing, and there is
# noise. Cues are drawn by coin, so nothing else helps.

# %%
LENGTH = 128  # steps


def cues(batch, random):
    """(batch, LENGTH): 1 or -1 where a cue is, 0 elsewhere."""
    gaps = torch.randint(8, LENGTH // 2, (batch, LENGTH // 8), generator=random)
    at = (gaps.cumsum(1) - 8).clamp(max=LENGTH)
    sign = 2.0 * torch.randint(0, 2, at.shape, generator=random) - 1
    cue = torch.zeros(batch, LENGTH + 1).scatter(1, at, sign)
    return cue[:, :LENGTH]  # the last column took all that came too late


# %% [markdown]
# The answer to the first question is a *latch*: it holds the last cue until another comes. `cummax` finds its place. For the
# second question there is a known way: flip, run, flip.


# %%
def last_cue(cue):
    """The last cue at each step (0: none yet), and how long it is ago."""
    steps = torch.arange(cue.shape[1])
    at = torch.where(cue != 0, steps, 0).cummax(1).values
    return cue.gather(1, at), steps - at


# %%
def cue_task(batch, random):
    cue, noise = cues(batch, random), cues(batch, random)
    x = torch.stack([cue, noise], dim=-1)  # (batch, LENGTH, 2)
    x = x + 0.1 * torch.randn(x.shape, generator=random)
    past = last_cue(cue)
    future = [t.flip(1) for t in last_cue(cue.flip(1))]
    answers, distances = (
        torch.stack(t, -1) for t in zip(past, future, strict=True)
    )
    return x, answers, distances  # each (batch, LENGTH, 2)


# %% mystnb={"image": {"alt": "Three traces against 128 steps, one window of the task. Top: the input with cues, three spikes of height plus or minus one at irregular distances, in faint noise. Middle: the answer to what was the last cue, a line that jumps to plus or minus one at each cue and stays there. Bottom: the answer to what will the next cue be, which jumps right after each cue."}} tags=["hide-input"]
example_x, example_y, _ = cue_task(1, torch.Generator().manual_seed(SEED))
with style():
    figure, panels = plt.subplots(
        3, 1, figsize=(9, 3.8), sharex=True, layout="constrained"
    )
    panels[0].plot(example_x[0, :, 0], color=COLORS["ink"], linewidth=0.9)
    panels[0].set_title("cues")
    for axes, question, name in zip(
        panels[1:], range(2), ["the last cue", "the next cue"], strict=True
    ):
        axes.step(
            range(LENGTH),
            example_y[0, :, question],
            color=COLORS["accent"],
            where="mid",
        )
        axes.set_title(name)
    panels[2].set_xlabel("step")
plt.show()

# %% [markdown]
# Six networks take part. All have the same beginning and end, which look at each step alone; between them stand layers. Three
# are two layers of `BiMamba2`, one for each mixing. One has two layers that read forward only. One has two layers of stand-ins. And so
# that nobody can say that the stand-in was starved, the last one has three times as many layers, three times as wide.


# %%
class Forward(nn.Module):
    """A layer like BiMamba2's, with one direction."""

    def __init__(self, width, **options):
        super().__init__()
        self.ssm = Mamba2(width, **options)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(x + self.ssm(x))


# %%
from functools import partial

ssm = {"d_state": 16, "headdim": 16, "chunk_size": 32}

# %%
two_ways = partial(BiMamba2, dropout=0.0, **ssm)
conv = partial(BiMamba2, dropout=0.0, backend="conv1d")
NETWORKS = {  # layer, how many, width
    "concat": (partial(two_ways, mixing="concat"), 2, 32),
    "sum": (partial(two_ways, mixing="sum"), 2, 32),
    "shared": (partial(two_ways, mixing="shared"), 2, 32),
    "forward only": (partial(Forward, **ssm), 2, 32),
    "stand-in": (conv, 2, 32),
    "stand-in, larger": (conv, 6, 96),
}


# %%
def network(name, inputs):
    layer, depth, width = NETWORKS[name]
    begin = nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width)
    between = [layer(width) for _ in range(depth)]
    return nn.Sequential(*begin, *between, nn.Linear(width, 2)).to(device)


# %%
for name in NETWORKS:
    count = sum(p.numel() for p in network(name, 2).parameters())
    print(f"{name:17s} {count:8,d} parameters")

# %% [markdown]
# Every network gets the same windows in the same order. The loss is $\log(1 + e^{-y \cdot \text{logit}})$ with $y$ 1 or −1. Where
# no cue has come yet $y$ is 0: there the loss is a constant, and nothing is learned. (So not even a perfect network reaches 0: the floor is the share of these steps times $\log 2$.)

# %% nbmake={"mock": {"EXAM": 16, "SEEDS": [0], "STEPS": 3}}
STEPS = 200
EXAM = 256  # windows to test on
SEEDS = range(3) if device == "cuda" else range(1)


# %%
def train(net, task, seed):
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.006, weight_decay=0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.006, STEPS)
    for _ in range(STEPS):
        x, y, _ = task(16, random)
        loss = nn.functional.soft_margin_loss(net(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
    return loss.item()


# %%
def train_all(task, inputs):
    """Every network with every seed; prints the loss of each one's last step."""
    nets = {}
    for name in NETWORKS:
        losses = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            nets[name, seed] = network(name, inputs)
            losses.append(f"{train(nets[name, seed], task, seed):.3f}")
        print(f"{name:17s} loss", *losses)
    return nets


# %% [markdown]
# **Guess**, and write it down: which of the six answers the first question, which the second, and up to how many steps from the
# cue? For the stand-ins you can compute it: two steps a layer.

# %%
cue_nets = train_all(cue_task, inputs=2)

# %% [markdown]
# Now windows that none of them has seen, and the share of right answers by the distance to the cue that is asked for.

# %%
from itertools import pairwise

EDGES = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 13, 16, 20, 24, 32, 48, 64]
exam = cue_task(EXAM, torch.Generator().manual_seed(1000))


# %%
@torch.no_grad()
def cue_accuracy(net, question):
    x, answers, distances = exam
    y, distance = answers[..., question], distances[..., question]
    right = net(x.to(device))[..., question].cpu() * y > 0
    return [
        right[(y != 0) & (distance >= low) & (distance < high)].float().mean()
        for low, high in pairwise(EDGES)
    ]


# %%
accuracy = {}  # name: (seeds, questions, distances)
for name in NETWORKS:
    nets = [cue_nets[name, seed] for seed in SEEDS]
    found = [
        [cue_accuracy(net, question) for question in (0, 1)] for net in nets
    ]
    accuracy[name] = torch.tensor(found)

# %% mystnb={"image": {"alt": "Two panels of the share of right answers against the distance to the cue, from 0 to 56 steps, one line for each of six networks. Left, the last cue: the three bidirectional networks and the forward one stay at 1 over all distances; the stand-in falls to one half after 4 steps, the larger one after 12, where dotted lines mark their computed reach. Right, the next cue: the three bidirectional networks stay at 1, the forward one is at one half at every distance above 0, and the stand-ins fall at the same steps as on the left."}} tags=["hide-input"]
from helpers.teaching.distance_plots import by_distance, mark_reach

with style():
    figure, panels = plt.subplots(
        1, 2, figsize=(10, 4), sharey=True, layout="constrained"
    )
    for question, title in enumerate(
        ["What was the last cue?", "What will the next cue be?"]
    ):
        axes = panels[question]
        by_distance(
            axes,
            EDGES,
            {name: values[:, question] for name, values in accuracy.items()},
        )
        # 4 and 12 steps away, the cue is still reached
        mark_reach(axes, {n: 2 * n + 0.5 for n in (2, 6)})
        axes.set(title=title, xlabel="distance to the cue (steps)")
    panels[0].set_ylabel("share of right answers")
    panels[1].legend(loc="center right", fontsize=8)
plt.show()

# %%
near = [n for n, high in enumerate(EDGES[1:]) if high <= 5]  # distance 0 to 4
far = [n for n, low in enumerate(EDGES[:-1]) if low >= 13]  # beyond any reach
for name, values in accuracy.items():
    print(f"{name:17s} last  {values[:, 0, near].mean():.2f} near", end=" ")
    print(f"{values[:, 0, far].mean():.2f} far", end="   next ")
    print(
        f"{values[:, 1, near].mean():.2f} near {values[:, 1, far].mean():.2f} far"
    )

# %% tags=["hide-input"]
bidirectional = torch.stack([accuracy[name] for name in MIXINGS])
convolutions = torch.stack(
    [accuracy[name] for name in ("stand-in", "stand-in, larger")]
)
record(
    cue_far_worst_ssm=bidirectional[..., far].mean(-1).min(),
    cue_far_best_conv=convolutions[..., far].mean(-1).max(),
    cue_far_forward_next=accuracy["forward only"][:, 1, far].mean(),
)

# %% [markdown]
# Each line is the mean of the seeds, three on a GPU and one elsewhere; where there are three, a band goes from the worst to the best.
# (At 1, marks of several networks lie in each other.)
#
# Far from the cue, beyond any reach, all three bidirectional networks answer both questions. The worst of them, over all seeds
# and both questions, is right in <span data-result="cue_far_worst_ssm:.2f">1.00</span> of all cases. The best of the stand-ins is right in
# <span data-result="cue_far_best_conv:.2f">0.50</span>: a coin. Reading forward only answers the first question and is a coin at the
# second (<span data-result="cue_far_forward_next:.2f">0.48</span>).
#
# The stand-ins do not fade out. They are right, or nearly, up to the last step that their kernels reach, as computed, and know
# nothing beyond it. Depth moved that step from 4 to 12; width moved nothing. In the detector, six such layers reach 12 steps to
# either side, that is three quarters of a second before and after; the window has sixty seconds. (At distance 0, the cue itself
# counts as its own last *and* next cue, so there the network that reads forward is right, too.)
#
# Look back at the losses printed above. If you had trained the larger stand-in alone, would its loss have told you? A loss that
# falls and stops at a middling value is what training on hard data looks like: nobody tells you the floor.

# %% [markdown]
# ## The same with waves
#
# Cues are abstract. Here is something closer to an EEG. **All of it is synthetic**: noise, waves of 3 Hz that last for seconds, and
# in half of the windows half a second of 20 Hz right before them. Waves that began like that are called a seizure here, from the
# first sample to the last; waves without it are not. (Real seizures often begin with fast activity, of low amplitude. Here it is
# drawn large, and nothing more is meant by it.) One step is four samples at 64 Hz, so there are 16 steps a second, and each has two
# labels: is it in a seizure, is it in a spike. In the middle of the waves both kinds look the same.
#
# A second task on the same windows asks only what is there: does this step hold a *spike*?

# %%
from helpers.teaching.memory_task import STEPS_PER_SECOND, eeg_like

x_eeg, y_eeg, since = eeg_like(8, LENGTH, torch.Generator().manual_seed(SEED))
print("samples", tuple(x_eeg.shape), "labels", tuple(y_eeg.shape))

# %% mystnb={"image": {"alt": "Two synthetic traces of eight seconds above each other. In both, waves of 3 hertz begin out of noise and last to the end of the plot or some seconds, with single spikes scattered over them. In the upper one half a second of fast activity stands right before the waves, and a bar below it marks everything from there to the end of the waves as seizure; the lower one has no fast activity and no bar."}} tags=["hide-input"]
seizure = (y_eeg[..., 0] > 0).any(1)
shown = [int(seizure.int().argmax()), int((~seizure).int().argmax())]
with style():
    figure, panels = plt.subplots(
        2, 1, figsize=(9, 3.6), sharex=True, layout="constrained"
    )
    for axes, index, title in zip(
        panels, shown, ["a synthetic seizure", "not one"], strict=True
    ):
        trace = x_eeg[index].flatten()
        axes.plot(
            torch.arange(len(trace)) / 64,
            trace,
            color=COLORS["ink"],
            linewidth=0.7,
        )
        label = (y_eeg[index, :, 0] > 0).repeat_interleave(4)
        axes.fill_between(
            torch.arange(len(label)) / 64,
            -3.4,
            -2.9,
            where=label,
            color=COLORS["marked"],
        )
        axes.set(title=title, ylabel="a.u.")
    panels[1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# **Guess:** for how long after the waves began do the stand-ins know of which kind they are? And which networks find the spikes?


# %%
def eeg_task(batch, random):
    return eeg_like(batch, LENGTH, random)


# %%
eeg_nets = train_all(eeg_task, inputs=4)

# %% [markdown]
# The score is the AUROC of chapter 00: 1 is perfect, 0.5 is a coin. For seizures it is computed among the steps of waves alone,
# by the time since the waves began.

# %%
from helpers.scoring import auroc

WAVE_EDGES = [0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48]  # steps
random = torch.Generator().manual_seed(1000)
x_exam, y_exam, since = eeg_like(2 * EXAM, LENGTH, random)
labels = y_exam > 0


# %%
@torch.no_grad()
def scores(net):
    return net(x_exam.to(device)).cpu()


# %%
def seizure_auroc(found):
    values = []
    for low, high in pairwise(WAVE_EDGES):
        here = (since >= low) & (since < high)  # since is -1 outside of waves
        values.append(
            auroc(labels[here][:, 0].numpy(), found[here][:, 0].numpy())
        )
    return values


# %%
seizures, spikes = {}, {}
for name in NETWORKS:
    found = [scores(eeg_nets[name, seed]) for seed in SEEDS]
    seizures[name] = torch.tensor([seizure_auroc(one) for one in found])
    spikes[name] = [
        auroc(labels[..., 1].flatten().numpy(), one[..., 1].flatten().numpy())
        for one in found
    ]

# %% mystnb={"image": {"alt": "AUROC for the synthetic seizures, among steps inside of waves, against the time since the waves began, from 0 to 2.5 seconds, one line for each of six networks. The three bidirectional networks and the forward one stay near 1. The stand-in falls to one half within about a quarter of a second, the larger one within three quarters of a second; dotted lines mark the computed reach of both."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    by_distance(axes, WAVE_EDGES, seizures, per_second=STEPS_PER_SECOND)
    # 3 and 11 steps into the waves, the end of the burst is still reached
    mark_reach(axes, {n: (2 * n - 0.5) / STEPS_PER_SECOND for n in (2, 6)})
    axes.set(
        xlabel="time since the waves began (s)",
        ylabel="AUROC",
        title="Synthetic: is this step part of a seizure?",
    )
    axes.legend(loc="center right", fontsize=8)
plt.show()

# %%
late = [n for n, low in enumerate(WAVE_EDGES[:-1]) if low >= 14]
for name in NETWORKS:
    print(
        f"{name:17s} seizure, later {seizures[name][:, late].mean():.2f}",
        end="",
    )
    print(f"   spikes {sum(spikes[name]) / len(spikes[name]):.3f}")

# %% tags=["hide-input"]
record(
    late_worst_ssm=min(
        seizures[name][:, late].mean(1).min() for name in MIXINGS
    ),
    late_best_conv=max(
        seizures[name][:, late].mean(1).max()
        for name in ("stand-in", "stand-in, larger")
    ),
    spikes_worst=min(min(values) for values in spikes.values()),
)

# %% [markdown]
# The same picture, with two differences. The network that reads forward only is as good as the others: what decides lies in the
# past this time. So this task asks for memory, and not for the future. And the stand-ins get worse before the dotted lines, where the
# burst leaves their reach: that is the most that they *can* know, not what they learn to use. Beyond it, the worst bidirectional network of all seeds has an AUROC of <span data-result="late_worst_ssm:.2f">1.00</span> and the best of the stand-ins
# <span data-result="late_best_conv:.2f">0.52</span>.
#
# And the spikes? The worst of all networks has <span data-result="spikes_worst:.3f">0.999</span>. For what lies within its reach,
# a convolution is all that one needs. So the lesson is not that the stand-in is a bad layer. It is that it is **another layer**,
# and that a data set with enough local signs of a seizure would hide it: the score would be good, and it would be the score of
# a network without a Mamba in it.

# %% [markdown]
# ## What a result has to say
# <a id="lab-record"></a>
#
# Then a result has to name what made it. Every layer of `BiMamba2` can be asked what computes it, for the very input that it gets. We
# ask the networks that were trained on the cues, and hand their first layer what the linear maps before it make of such windows:

# %%
x_cue, _, _ = cue_task(16, torch.Generator().manual_seed(SEED))
for name in ("concat", "shared", "stand-in"):
    net = cue_nets[name, SEEDS[0]]
    begin, layer = net[:3], net[3]
    used = layer.backend_for(begin(x_cue.to(device)))
    print(f"{name:9s} {used}")
    record(**{f"backend_of_{name.replace('-', '_')}": used})

# %% [markdown]
# On the machine that stored this page, `concat` was computed by
# <span data-result="backend_of_concat:s">mamba_ssm</span>. `"auto"` takes the official kernels (`mamba_ssm`) where they can be used and
# PyTorch (`torch`) elsewhere: the same function. `"conv1d"` is another one, so
# it is in the detector's `config`, the dictionary that builds it again and that goes into a checkpoint:

# %%
from helpers.models import SeizureDetector

detector = SeizureDetector(mamba_layers=1, backend="conv1d")
{key: detector.config[key] for key in ("mamba_layers", "mixing", "backend")}

# %% [markdown]
# The variable of the field notes, `SEIZURE_MAMBA_FORCE_FALLBACK`, works here, too. It replaces `"auto"` and nothing else; **guess** what the second line says.

# %%
from helpers.environment import Lab, expect_error

lab = Lab()
code = """
import warnings
warnings.simplefilter("ignore")
from helpers.models import BiMamba2
print(BiMamba2(8, headdim=4).backend)
print(BiMamba2(8, headdim=4, backend="torch").backend)
"""
print(lab.python(code, env={"SEIZURE_MAMBA_FORCE_FALLBACK": "1"}))

# %% [markdown]
# Whoever asks for a backend by name gets it, or an error. And a value that is no clear yes or no is an error as well, rather
# than a guess:

# %%
from unittest.mock import patch

with (
    patch.dict("os.environ", SEIZURE_MAMBA_FORCE_FALLBACK="true"),
    expect_error(ValueError, match="expected 1 .* or 0"),
):
    BiMamba2(8)

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | no error, no gain from the second direction | `flip(0)` or `flip(-1)` reversed the batch or the channels | reverse the dimension of time, 1 here and −1 in `(batch, channels, length)`; look at the influence |
# | answers that belong to the mirrored time | the second flip is missing | flip back before joining |
# | half of the expected parameters | both directions hold the *same* block: `self.backward = self.forward` | two blocks, or one that is meant to be shared |
# | NaN under float16, with `sum` | without a norm behind it, a sum doubles what goes on, layer by layer; [reported for Vim](https://github.com/hustvl/Vim/pull/90) | divide the sum by 2, as there; here a LayerNorm follows every sum |
# | zeros behind a short recording change the answers for the recording | the padding is what the backward direction reads *first* | cut windows that are full; the next cell shows it |
# | a fast import, fast training, fewer parameters than the paper says | the stand-in | `backend_for`, and count what runs |

# %% [markdown]
# Padding, on the block of the beginning and its 24 steps of signal: each direction reads the signal alone, and then with 8 steps of
# zeros behind it, and we compare the answers *for the signal*.
#
# **Guess:** are only the last steps of the signal touched, those beside the zeros?

# %%
padded = torch.cat([x, torch.zeros(1, 8, 8)], dim=1)  # (1, 24 + 8, 8)
print("off by, in steps     0-7   8-15  16-23")
for name, layer in {"forward": forward, "backward": backward}.items():
    off = (layer(padded)[:, :24] - layer(x)).detach().abs().amax(dim=(0, 2))
    print(f"{name:18s}", *(f"{part.max():.0e}" for part in off.split(8)))

# %% [markdown]
# The forward direction comes to the zeros last, when its answers for the signal are given. The backward direction comes to them
# first. And zeros leave a trace: the convolution in the block has a bias, so what reaches the state is not zero. The backward
# direction enters the signal with that in its state and carries it along, to the very first step. In this untrained block the
# difference is small. Nothing keeps it small in a trained one.
#
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **07.1** The cell above reads the zeros of a padded window first. Mend it: write `backward_each(causal, x, lengths)`, what `causal`
# makes of each window's *signal* in reversed time, each step at its own place, as if there were no padding; and 0 at the steps of the
# padding. `x` is a tensor `(batch, length, channels)`, `lengths` a list with the steps of signal of each window, and `causal` a function from
# such a tensor, of any length, to one of the same shape.

# %%
from helpers.teaching import check, solution


def backward_each(causal, x, lengths): ...


check("07.1", backward_each)

# %% tags=["remove-input"]
solution("07.1")

# %% [markdown]
# **07.2** Write `reach(kernel_size, n_layers, rate)` for a stack of convolutions of odd width, at `rate` steps a second: how many
# steps an output reaches to *either side*, and how many milliseconds it sees *in all*, as a pair. One layer of five at 16 Hz is the
# stand-in above.


# %%
def reach(kernel_size, n_layers, rate): ...


check("07.2", reach)

# %% tags=["remove-input"]
solution("07.2")

# %% [markdown]
# **07.3** Write `reader_of(influence)`: from an influence matrix (a NumPy array of sizes, zero or more; row $i$ for output $i$), say
# which layer it is: `"forward"`, `"backward"`, `"both"`, or `"convolution"`, which reads a few steps on either side. Only an exact
# zero means that nothing is read. (`heard["sum"].numpy()` is one to try it on.)


# %%
def reader_of(influence): ...


check("07.3", reader_of)

# %% tags=["remove-input"]
solution("07.3")

# %% [markdown]
# **07.4** Hydra computes its matrix without ever writing it down. Write `join(ahead, behind, diagonal, x)`, its $y$ from what the two SSDs
# gave. All are NumPy arrays: `x`, `ahead` and `behind` are `(length, channels)`, and `diagonal` has one number a step, $D + W_D x_t$. `behind`
# is in its own order of reading: `behind[0]` belongs to the last step.


# %%
def join(ahead, behind, diagonal, x): ...


check("07.4", join)

# %% tags=["remove-input"]
solution("07.4")

# %% [markdown]
# ## Recap
#
# - A causal layer does not know what follows. Flip, run, flip makes a backward one of it; it needs the whole window.
# - `concat` joins by a learned map, `sum` adds and counts the present twice, `shared` does both directions in one block with less than
#   half the operations of `concat`.
# - The influence matrix tells what a layer reads: a triangle, the whole square, or a band.
# - The stand-in has the right shapes and no memory. It knows two steps a layer, never more, at any size.
# - On a local task it is as good as any. So a score does not tell it from a Mamba; a record does.
#
# ## What next
#
# [Chapter 08](08_detector.ipynb) puts six of these layers into the detector, counts its parameters layer by layer, and shows which
# published total is that of the stand-in.
