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
# # From a recurrence to matrix products
#
# Mamba-2 reads a signal with a loop: at each step a state fades, takes in the input, and is read out. A loop of a million
# steps is the last thing that a GPU wants to do. In this chapter the loop becomes a matrix, the matrix is cut into blocks,
# and the blocks become a few products that any machine computes fast. Every stage gives the same numbers, and you check
# that each time, with the same check.
#
# **You will**
#
# - watch a state of one number go through a seizure;
# - compute one sequence map in three ways, and lose one of the three when the state learns to choose;
# - write the recurrence of Mamba-2 in ten lines;
# - take the matrix apart into chunks, and put your own chunked scan together in the exercises;
# - measure what it costs against attention, from a few hundred steps to a million, and find out that at this book's 960
#   steps it saves nothing.
#
# **You need** PyTorch (tensors, broadcasting, `einsum`), and [chapter 00](00_start_here.ipynb) for the recording. Nothing
# about state space models. No GPU; with one, the measurements are larger, and one cell runs the official kernel.
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
import numpy as np
import torch

from helpers.teaching import COLORS, explore, needs, record, style

# %%
if torch.cuda.is_available():
    device, machine = "cuda", torch.cuda.get_device_name()
else:
    device, machine = "cpu", f"a CPU, {torch.get_num_threads()} threads"
record(machine=machine)
print("measurements run on", machine)

# %% [markdown]
# ## A state of one number
#
# Take a single number $h$ and one rule: at each step it keeps a share $a$ of what it was, and adds $b$ times the input.
#
# $$h_t = a\,h_{t-1} + b\,x_t$$
#
# **Guess:** the input is 1 at the first step, and 0 after that. What does the state do, with $a = 0.8$ and $b = 1$?


# %%
def one_number(x, a, b):
    h, states = 0.0, []
    for value in x:
        h = a * h + b * value
        states.append(h)
    return np.array(states)


# %%
one_number([1, 0, 0, 0, 0, 0], a=0.8, b=1).round(3)

# %% [markdown]
# It fades: 1, $a$, $a^2$, $a^3$ and so on. That answer to a single 1 is the *impulse response*. How long does it last? One
# speaks of the *time constant* $\tau$, the time after which 1/e of it, a good third, is left. The detector of this book
# runs its state space layers at 16 steps a second. For a time constant in seconds, the share to keep is:


# %%
def keep(tau, rate=16):
    return np.exp(-1 / (tau * rate))


for tau in (0.1, 1, 60):
    print(f"time constant {tau:4} s: keep {keep(tau):.4f} at each step")

# %% [markdown]
# Near 1 is long. A state that remembers a minute throws away a thousandth of itself at each step.
#
# ### A state under a seizure
#
# Now something to read. This is the recording of chapter 00, a child with absence seizures, from
# [eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/) by Christopher Lee-Messer (BSD-3-Clause). Of one channel, Cz, at
# the top of the head, we take the size of the signal, 16 times a second: the root of the mean square (RMS) of 16 samples.

# %%
from helpers.eeg import CANONICAL, load, preprocess, seizures

raw = load("absence")
marked = seizures(raw)
cz = preprocess(raw)[CANONICAL.index("Cz")]  # (samples,), 256 a second
pieces = cz[: len(cz) // 16 * 16].reshape(-1, 16)  # (steps, 16)
size = np.sqrt((pieces**2).mean(axis=1))  # (steps,), 16 a second
print(f"{len(size)} steps, {len(size) / 16 / 60:.1f} minutes")

# %% [markdown]
# The unit is the channel's usual spread. With $b = 1 - a$ the state stays in this unit: it is a running average, which
# forgets. Three seizures were marked within two minutes.
#
# **Guess before you move the control.** At which time constant does the state show *each wave* of a seizure? At which does
# it show *the seizure*? And what does a state of a minute know when the third seizure begins?

# %% tags=["hide-input"]
shown = slice(1370 * 16, 1490 * 16)  # steps: two minutes
near = slice(1477 * 16, 1480 * 16)  # steps: three seconds of a seizure


def state_for(tau):
    return one_number(size, keep(tau), 1 - keep(tau))  # (steps,)


def plot_state(axes, steps, tau, **line):
    seconds = (np.arange(steps.start, steps.stop) + 1) / 16  # a step's end
    axes.plot(seconds, size[steps], **line)
    axes.plot(
        seconds, state_for(tau)[steps], color=COLORS["accent"], linewidth=1.6
    )
    axes.set(xlim=(steps.start / 16, steps.stop / 16), ylim=(0, 14))


# %% tags=["hide-input"]
def draw(tau):
    with style():
        figure, axes = plt.subplot_mosaic(
            [["all", "wave"], ["all", "zoom"]],
            figsize=(10, 3.8),
            width_ratios=[3, 2],
            height_ratios=[2, 3],
            layout="constrained",
        )
        plot_state(axes["all"], shown, tau, color=COLORS["line"])
        plot_state(axes["zoom"], near, tau, color=COLORS["quiet"], marker=".")
        for onset, end in marked:
            axes["all"].axvspan(
                onset, end, color=COLORS["marked"], alpha=0.25, linewidth=0
            )
        wave = slice(near.start * 16, near.stop * 16)  # samples
        seconds = np.arange(wave.start, wave.stop) / 256
        axes["wave"].plot(seconds, cz[wave], color=COLORS["ink"], linewidth=0.8)
        axes["wave"].set(xlim=axes["zoom"].get_xlim(), ylabel="Cz", xticks=[])
        axes["wave"].set_title("Three seconds of the third seizure")
        axes["zoom"].set(xlabel="time (s)", xticks=range(1477, 1481))
        axes["all"].set_xlabel("time (s); marked seizures shaded")
        axes["all"].set_ylabel("size of Cz")
        axes["all"].set_title(
            f"Input (gray) and state, time constant {tau:g} s"
        )
    return figure


# %% tags=["hide-input"]
def describe(tau):
    state, waves = state_for(tau)[shown], state_for(tau)[near]
    at = [round(onset * 16) - shown.start for onset, _ in marked]
    return (
        "Left: the size of the signal at Cz over two minutes with three "
        "marked seizures, and a state with a time constant of "
        f"{tau:g} seconds. Its peak is {state.max():.1f} times the usual "
        f"spread, its lowest value {state.min():.1f}. Where the seizures "
        "begin it stands at "
        + ", ".join(f"{state[step]:.1f}" for step in at)
        + ". Right: three seconds of the third seizure, the signal at Cz with "
        "about three waves a second above its size, step by step. In these "
        f"seconds the state lies between {waves.min():.1f} and "
        f"{waves.max():.1f}."
    )


# %%
explore(draw, alt=describe, tau=("time constant (s)", [0.1, 0.5, 2, 10, 60]))

# %% [markdown]
# At 0.1 s the state rises and falls within each wave, as the zoom shows. At 2 s the waves are gone and each seizure is one hill. At 60 s the hills are low, too
# low for this axis. In numbers:

# %%
for onset, end in marked:
    before, after = state_for(60)[[round(t * 16) for t in (onset, end)]]
    print(f"onset at {onset:6.1f} s: {before:.2f}, at its end {after:.2f}")

# %% [markdown]
# Each seizure lifts it by a little. After the second it sinks, but a minute later a part is left. (Between the first two it hardly
# sinks: there the EEG itself is larger than before.) Such a
# state does not say *when* something was, only *that there was something* within the last minute or so.
#
# No single number does all of it. So a layer has several, each with a decay of its own; how many, you will see below.

# %% [markdown]
# ## The same thing three times
#
# The loop is one way to compute the states. Unroll it, and there is a second. What was written at step $j$ has faded
# $i - j$ times when step $i$ comes, so
#
# $$h_i = \sum_{j \le i} a^{i-j}\, b\, x_j.$$
#
# That is a convolution with the impulse response as its kernel. First a check that will go with us through the chapter:
# the largest difference to what is expected, as a share of the largest number expected.


# %%
def agrees(name, found, expected, tolerance=1e-9):
    gap = torch.as_tensor(found).cpu() - torch.as_tensor(expected).cpu()
    off = (gap.abs().max() / torch.as_tensor(expected).abs().max()).item()
    print(f"{name:28s} differs by {off:.0e}")
    assert off <= tolerance, f"{name}: {off:.1e}, at most {tolerance:.0e}"


# %%
a, b = keep(2), 1 - keep(2)
part = size[shown]  # (1920,), two minutes
by_loop = one_number(part, a, b)

# %%
kernel = b * a ** np.arange(len(part))
by_kernel = np.convolve(part, kernel)[: len(part)]
agrees("convolution", by_kernel, by_loop)

# %% [markdown]
# The third way writes the same sum as a matrix. Row $i$ is the step that reads, column $j$ the step that wrote; above the
# diagonal there is nothing, because nobody reads the future.

# %%
each = np.arange(len(part))
distance = each[:, None] - each[None, :]  # (reads, wrote)
faded = np.where(distance >= 0, b * a ** np.maximum(distance, 0.0), 0.0)
agrees("matrix", faded @ part, by_loop)

# %% [markdown]
# The same numbers, three times. A small one to look at, with a shorter memory:

# %% mystnb={"image": {"alt": "Left: a matrix of 24 by 24 steps as an image. The diagonal is dark, below it the entries fade with the distance from the diagonal, and every diagonal line has one shade; above the diagonal it is empty; a scale beside it goes from 0, white, to 1, dark. Right: row 20 of it as bars, rising from almost nothing at step 4 to the largest at step 20, and nothing after that."}} tags=["hide-input"]
from helpers.teaching.ssd_pictures import matrix_image

rows = torch.arange(24)
small = (0.8 ** (rows[:, None] - rows).clamp(min=0)).tril()
with style():
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.6), layout="constrained"
    )
    matrix_image(left, small, "One decay, 24 steps", scale="share left")
    right.bar(rows, small[20], color=COLORS["accent"])
    right.set(xlabel="step j that wrote", ylabel="share left of a write")
    right.set_title("Row 20: what step 20 sees")
plt.show()

# %% [markdown]
# *A matrix as an image. Row i is the step that reads, column j the step that wrote, the shade how much of the write is left;
# white is nothing. With $a = 0.8$ and $b = 1$.*
#
# Each diagonal has a single shade: only the distance counts. That is what makes it a convolution, and convolutions are
# fast for long signals (by Fourier transforms). State space models before Mamba lived on that.

# %% [markdown]
# ## Selection: the state decides
#
# A fixed decay treats all input alike. But a detector should keep the onset of a seizure and forget a blink. So let the
# input choose, at each step, how long that step *lasts*:
#
# $$h_t = e^{\Delta_t A}\, h_{t-1} + \Delta_t\, B_t\, x_t, \qquad y_t = C_t\, h_t$$
#
# It is the rule from above with $a = e^{\Delta_t A}$ and $b = \Delta_t B_t$: in `keep`, $A$ was $-1/\tau$ and $\Delta$ one step of 1/16 s.
#
# $A$ is a fixed negative rate. $\Delta_t$, in code `dt`, is the length of the step, and it is computed from the input. Think
# of a clock that the input can slow down or speed up:
#
# - `dt` near 0: the clock stands. Nothing fades, nothing is written. *Keep.*
# - `dt` large: much time passes. What was there is gone, and the new input is written with weight `dt`. *Forget, and take
#   this.*
#
# $B_t$ and $C_t$ come from the input, too: what to write, and what to ask for. Here they are 1, and
# `dt` is set by hand, so that you can see what it does.

# %%
SEED = 5
torch.manual_seed(SEED)
noise = torch.randn(40, dtype=torch.float64)  # (length,)
toy_A = torch.tensor(-1.0, dtype=torch.float64)
toy_dt = torch.full((40,), 0.02, dtype=torch.float64)
toy_dt[[8, 25]] = 4.0  # two steps that last long
toy_B = toy_C = torch.ones(40, dtype=torch.float64)


# %%
def selective(x, dt, A, B, C):
    h, outputs = torch.zeros((), dtype=x.dtype), []
    for t in range(len(x)):
        h = torch.exp(dt[t] * A) * h + dt[t] * B[t] * x[t]
        outputs.append(C[t] * h)
    return torch.stack(outputs)  # (length,)


# %%
toy_y = selective(noise, toy_dt, toy_A, toy_B, toy_C)

# %% [markdown]
# **Guess:** the input is noise. What does the output look like, between steps 8 and 25?

# %% mystnb={"image": {"alt": "Forty steps. Dots scatter between minus seven and eight: the input, multiplied by four. A line, the output: near zero until step 8, then it jumps to the dot of step 8 and stays nearly level for seventeen steps, sinking a little, whatever the dots do; at step 25 it jumps to the dot of that step and stays there. Two vertical lines mark steps 8 and 25."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    axes.plot(
        4 * noise,
        "o",
        color=COLORS["quiet"],
        markersize=4,
        label="4 x input, what a long step writes",
    )
    axes.plot(toy_y, color=COLORS["accent"], linewidth=2, label="output")
    for t in (8, 25):
        axes.axvline(t, color=COLORS["marked"], linestyle="--", linewidth=1)
    axes.set(xlabel="step; dt is 4 at the dashed lines and 0.02 elsewhere")
    axes.set_title("It takes what comes at a long step, and keeps it")
    axes.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# It took the two inputs at the long steps, and held each of them, losing less than a third in seventeen steps. No fixed decay can do that. Is it still a convolution?
# Then an impulse would get the same answer wherever it comes. Try one at step 3, and one at step 10:


# %%
def impulse_response(at, steps=20):
    impulse = torch.zeros_like(noise)
    impulse[at] = 1.0
    answer = selective(impulse, toy_dt, toy_A, toy_B, toy_C)[at : at + steps]
    return answer / answer[0]  # the share that is left


# %%
for at in (3, 10):
    after_4, after_8 = impulse_response(at)[[4, 8]]
    print(
        f"at step {at:2d}: after 4 steps {after_4:.2f}, after 8 {after_8:.2f}"
    )

# %% [markdown]
# The first of them meets step 8 and is wiped out, the second comes after it and lasts. Different answers at different
# places: no kernel describes this, and the convolution is lost. The matrix is not. What was written at step $j$ fades at
# the steps after it, up to $i$, and the exponents add up:
#
# $$M_{ij} = C_i\, B_j\, \exp\Bigl(A \sum_{k=j+1}^{i} \Delta_k\Bigr)\, \Delta_j, \qquad i \ge j$$
#
# A sum from $j+1$ to $i$ is a difference of two cumulative sums. So there is no loop left:

# %%
toy_total = torch.cumsum(toy_dt * toy_A, dim=0)  # (length,)
between = toy_total[:, None] - toy_total[None, :]  # (reads, wrote)
ahead = torch.ones_like(between).triu(diagonal=1).bool()
decay = torch.exp(between.masked_fill(ahead, -torch.inf))
toy_M = toy_C[:, None] * toy_B[None, :] * decay * toy_dt[None, :]
agrees("matrix, selective", toy_M @ noise, toy_y)

# %% mystnb={"image": {"alt": "Three matrices of 40 by 40 steps as images, empty above the diagonal, with a scale beside each, from 0 to 1, 0 to 1 and 0 to 4. First, one dt for all: dark at the diagonal, fading smoothly below it. Second, the decays with two long steps: three dark triangles along the diagonal, for steps 0 to 7, 8 to 24 and 25 to 39, and almost nothing below them, because steps 8 and 25 wipe out what came before. Third, the decays times dt: almost all columns are white; column 8 is dark down to row 24 and column 25 from there on."}} tags=["hide-input"]
even = torch.exp(-0.22 * (torch.arange(40)[:, None] - torch.arange(40))).tril()
with style():
    figure, trio = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    matrix_image(trio[0], even, "One dt for all steps", scale="share left")
    matrix_image(trio[1], decay, "Decay, dt chosen", scale="share left")
    matrix_image(trio[2], toy_M, "Decay times dt", scale="entry of M")
    for axes in trio[1:]:
        axes.set_ylabel("")  # as on the left
plt.show()

# %% [markdown]
# *Rows read, columns wrote. Left and middle the decay alone, from 0 to 1; on the right each column is multiplied by its `dt`, so the
# scale goes to 4.*
#
# In the middle, a long step cuts the past off: below and left of it the matrix is all but empty. On the right each column also has its
# `dt`: only what came at a long step was written at all. Column 8 serves rows 8 to 24, column 25 the rest. You can read off
# what you saw in the picture before.
#
# Row $i$ of $M$ says how much step $i$ takes from each earlier step. If that reminds you of attention: it is the same form,
# $C$ as queries, $B$ as keys, $x$ as values, with a decay in place of the softmax. The authors of Mamba-2 call this
# *duality* {cite:p}`dao2024mamba2`; hence SSD, *state space duality*.

# %% [markdown]
# ## Heads and shapes
#
# So far one input and one number. Mamba-2 has many of both, in this order:
#
# | name | shape | what it is | in this book's detector |
# |---|---|---|---|
# | `batch` | | sequences at a time | any number |
# | `length` | | steps of a sequence | 960: 60 s at 16 a second |
# | `heads` | | parts that have a clock of their own | 16 in each Mamba-2, two Mamba-2 in each of six layers |
# | `headdim` | | channels of one head | 64 |
# | `d_state` | | numbers that the state keeps for each channel | 16 |
# | `groups` | | sets of `B` and `C`; heads of a group share them | 1 |
# | `x` | (batch, length, heads, headdim) | the input | |
# | `dt` | (batch, length, heads) | length of each step, positive | |
# | `A` | (heads,) | rate of each head, negative | |
# | `B`, `C` | (batch, length, groups, d_state) | what to write to, what to ask for | |
# | `D` | (heads,) | how much of the input goes past the state | |
# | `h` | (batch, heads, headdim, d_state) | the state | 16 × 64 × 16 = 16,384 numbers |
#
# The matrix of one head is the one you know, with a dot product over the `d_state` numbers where $C_i B_j$ stood:
#
# $$M_{ij} = (C_i \cdot B_j)\, \exp\Bigl(A \sum_{k=j+1}^{i} \Delta_k\Bigr)\, \Delta_j, \qquad i \ge j$$
#
# One head decays with *one* number at each step, whatever its state of 64 × 16 holds. That is why the decay is a single factor
# beside the dot product, and all pairs of $C_i \cdot B_j$ are one product of matrices, `C @ B.T`. In Mamba-1 each of the 16 numbers
# has a decay of its own: then each term of the dot product fades differently, and there is no such product.
#
# The write is an outer product: each of the 64 channels writes its value to the 16 places, in the proportions that `B` says.
# The read is a product with `C` over the 16 places. Here is the whole recurrence:


# %%
def recurrence(x, dt, A, B, C, D):
    group = x.shape[2] // B.shape[2]  # heads that share B and C
    B, C = (t.repeat_interleave(group, dim=2) for t in (B, C))
    h = x.new_zeros(x.shape[0], *x.shape[2:], B.shape[3])
    outputs = []
    for t in range(x.shape[1]):
        fade = torch.exp(dt[:, t] * A)[..., None, None]  # (batch, heads, 1, 1)
        write = torch.einsum("bh,bhp,bhn->bhpn", dt[:, t], x[:, t], B[:, t])
        h = fade * h + write  # (batch, heads, headdim, d_state)
        outputs.append(torch.einsum("bhpn,bhn->bhp", h, C[:, t]))
    return torch.stack(outputs, dim=1) + D[:, None] * x


# %% [markdown]
# `ssd_recurrence`, in `helpers.models`, is the same loop with its shapes checked. In float64 it is the *oracle* of this book:
# slow, plain, and what every fast path is tested against. Do the two agree?

# %%
from helpers.models import ssd_recurrence


def example(batch, length, heads, headdim, groups, d_state):
    """Random inputs in float64; dt and A as a new Mamba-2 has them."""
    draw = {"dtype": torch.float64}
    x = torch.randn(batch, length, heads, headdim, **draw)
    dt = 10 ** (-3 + 2 * torch.rand(batch, length, heads, **draw))
    A = -1 - 15 * torch.rand(heads, **draw)
    B, C = (torch.randn(batch, length, groups, d_state, **draw) for _ in "BC")
    return x, dt, A, B, C, torch.randn(heads, **draw)


inputs = example(2, 37, 6, 5, groups=3, d_state=4)
agrees("recurrence", recurrence(*inputs), ssd_recurrence(*inputs))

# %% [markdown]
# ### How long a new Mamba-2 remembers
#
# Before training, each head draws its rate from 1 to 16 and its `dt` from `0.001` to `0.1`. (The block stores them as `A_log`, a
# logarithm, and `dt_bias`, before a softplus, which keeps `dt` positive.) The time constant of a head is $1 / (\Delta |A|)$ steps.
#
# Mind what is counted. `Mamba2(512)` works on twice the width, in 16 heads of 64, and so it has 16 decays, one for each head: no
# more, however large its states are. A layer of the detector has two Mamba-2, so 32; the six layers together have 192. **Guess:**
# from which time constant to which do the 16 of one Mamba-2 reach, at 16 steps a second?

# %%
import torch.nn.functional as F

from helpers.models import Mamba2

untrained = [Mamba2(512, d_state=16) for _ in range(12)]  # 16 heads each

# %%
taus = torch.stack(
    [
        1 / (F.softplus(mamba.dt_bias) * torch.exp(mamba.A_log)) / 16
        for mamba in untrained
    ]
).detach()  # (12, 16), s
print(f"{taus.numel()} heads, {taus.min():.2f} to {taus.max():.1f} s")
print("above 10 s, in each Mamba-2:", (taus > 10).sum(dim=1).tolist())
record(shortest_tau=taus.min(), longest_tau=taus.max())
record(median_longest=taus.amax(dim=1).median())
record(tau_above_10=(taus > 10).sum())
record(none_above_10=12 - (taus > 10).any(dim=1).sum())

# %% mystnb={"image": {"alt": "Twelve columns of 16 dots, one column for each Mamba-2, in six pairs, one for each layer; the time constants of its heads on a logarithmic axis from 0.03 to 100 seconds. In every column most dots lie between a tenth of a second and a few seconds. The highest dot of a column is at a few seconds in some and at some tens of seconds in others. Dashed lines mark the shortest possible value, 0.04 seconds, and the longest, 62 seconds, which is about one window."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
    columns = torch.arange(1, 13)
    for layer in range(0, 6, 2):  # every other layer shaded
        axes.axvspan(
            2 * layer + 0.5, 2 * layer + 2.5, color=COLORS["line"], alpha=0.35
        )
    for head in range(16):
        axes.semilogy(columns, taus[:, head], ".", color=COLORS["accent"])
    for tau, name in [(1 / 1.6 / 16, "0.04 s"), (1 / 0.001 / 16, "62 s")]:
        axes.axhline(tau, color=COLORS["quiet"], linestyle="--", linewidth=1)
        axes.annotate(
            name,
            (12.5, tau),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
        )
    axes.set_xticks(columns)
    axes.set(xlim=(0.5, 12.5), ylim=(0.02, 200), ylabel="time constant (s)")
    axes.set_xlabel("Mamba-2, two in each of six layers")
    axes.set_title("16 memories in each Mamba-2, most of them short")
plt.show()

# %% [markdown]
# From the length of a wave to that of a window, most of them short. In a typical one of these Mamba-2 the longest memory is
# <span data-result="median_longest:.0f">14</span> s; <span data-result="none_above_10:d">4</span> of the twelve have no head above
# ten seconds, and of all 192 heads <span data-result="tau_above_10:d">10</span> have that much. The input changes `dt` at every
# step, so these are only where training begins. (By definition the range ends at `1 / (0.1 * 16)` steps, 0.04 s, and `1 / 0.001`
# steps, 62 s.)
#
# <a id="lab-reach"></a>Is the whole window in reach? Of what was written at its first step, a minute later this is left:

# %%
remains = torch.exp(-60 / taus)  # (12, 16)
print(f"{(remains > 0.01).sum()} of 192 heads keep 1 % or more,")
print(f"in {(remains > 0.01).any(dim=1).sum()} of the 12 Mamba-2")
print(f"the one that forgets least keeps {remains.max():.0%}")

# %% [markdown]
# Few heads, and not in every layer: so the end of a window can know of its beginning, but not everywhere. A new window starts from
# an empty state: nothing goes over from one to the next.

# %% [markdown]
# ## Two bad choices
#
# Now we have two ways to compute the same thing, and neither is good.
#
# - The **loop** does little at each step, but the steps come one after the other, and a step is no matrix product.
# - The **matrix** is two products, which machines love, and has length × length entries.
#
# Count the additions and multiplications, for one window and all 16 heads of one Mamba-2. (One head and channel: a multiplication to fade,
# two to write, two to read, for each number of the state.)


# %%
def operations(length, heads=16, headdim=64, d_state=16):
    width = heads * headdim
    loop = 5 * length * width * d_state
    matrix = 2 * length**2 * (d_state + width)  # C·B for all heads, then M @ x
    return loop, matrix


for length in (240, 960, 15_360):
    loop, matrix = operations(length)
    print(
        f"{length:6d} steps: loop {loop / 1e6:6.0f}, matrix {matrix / 1e6:8.0f}"
    )
    print(" " * 15 + f"(millions); matrix / loop = {matrix / loop:.0f}")

# %% [markdown]
# At 960 steps the matrix has more than twenty times as much to do as the loop, and it gets worse with every step. And yet on a
# GPU the loop will be the slowest by far, as you will measure. Its 960 steps wait for each other, and each is too small to
# keep the machine busy. Nor is any of them a product of matrices, at which an H100 is at its best: 989 trillion operations a
# second with 16-bit numbers, against 67 in other arithmetic with 32-bit numbers
# ([as Mamba-2's authors count](https://pli.princeton.edu/blog/2024/mamba-2-algorithms-and-systems)).
#
# We want few operations *and* matrix products. The matrix has a structure that allows it.

# %% [markdown]
# ## Chunks
#
# Take one head with a small state, `d_state` 4, over 60 steps, and cut its matrix into blocks of 12 by 12.


# %%
def one_head(x, dt, A, B, C, D):  # the one sequence and head there is
    return x[0, :, 0], dt[0, :, 0], A[0], B[0, :, 0], C[0, :, 0]


sixty = example(1, 60, 1, 3, groups=1, d_state=4)
x1, dt1, A1, B1, C1 = one_head(*sixty)  # (60, 3), (60,), (), (60, 4), (60, 4)


# %%
def masked_matrix(dt, A, B, C):
    total = torch.cumsum(dt * A, dim=0)
    exponent = total[:, None] - total[None, :]
    future = torch.ones_like(exponent).triu(diagonal=1).bool()
    return (C @ B.T) * torch.exp(exponent.masked_fill(future, -torch.inf)) * dt


M1 = masked_matrix(dt1, A1, B1, C1)  # (60, 60)

# %% [markdown]
# A block *on* the diagonal is a small copy of the whole problem: 12 steps, which read each other. A block *below* it says what
# 12 steps read of 12 earlier ones. **Guess:** each has 144 entries. How many numbers does it take to say what is in a block
# below the diagonal?

# %%
blocks = M1.unflatten(0, (5, 12)).unflatten(2, (5, 12))  # (5, 12, 5, 12)
on = torch.linalg.svdvals(blocks[3, :, 3])  # (12,)
below = torch.linalg.svdvals(blocks[3, :, 1])  # (12,)
for name, values in [("on the diagonal", on), ("below", below)]:
    rank = int((values > 1e-12 * values[0]).sum())
    print(f"a block {name}: rank {rank} of 12")

# %% mystnb={"image": {"alt": "Left: a matrix of 60 by 60 steps as an image, cut by lines into five by five blocks; the blocks on the diagonal are lower triangles, the blocks below are full, those above empty; a scale beside it ends in a point, since some entries are larger. Right: singular values of two blocks on a logarithmic axis. Those of the block on the diagonal fall slowly over all twelve. Those of the block below fall to nothing after the fourth: a hundred-millionth of a millionth of the first."}} tags=["hide-input"]
with style():
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 4), layout="constrained"
    )
    matrix_image(
        left,
        M1,
        "Five chunks of 12 steps",
        largest=M1.abs().quantile(0.97),
        chunk_size=12,
        scale="size of an entry of M",
    )
    for values, name, marker, color in [
        (on, "on the diagonal", "o", "accent"),
        (below, "below it", "s", "marked"),
    ]:
        shares = (values / values[0]).clamp(min=1e-18)
        right.semilogy(
            range(1, 13), shares, marker, color=COLORS[color], label=name
        )
    right.axvline(4.5, color=COLORS["quiet"], linestyle="--", linewidth=1)
    right.set(xlabel="singular value", ylabel="share of the largest")
    right.set_title("Below the diagonal: rank 4 = d_state")
    right.legend()
plt.show()

# %% [markdown]
# *Left, the matrix of one head, with lines where a chunk ends. The shade is the size of an entry, without its sign; the largest
# few lie beyond its end. Right, the singular values of two of the blocks.*
#
# Rank 4. Whatever passes from one chunk to a later one passes through the state, and for each channel that has four numbers. So
# the block is a thin product, 12 × 4 times 4 × 12: how the later chunk reads, and what the earlier one wrote. Cut the decay at
# any step between the two, and each factor gets its part of it. Here it is cut where the earlier chunk ends, after step 23:

# %%
total1 = torch.cumsum(dt1 * A1, dim=0)  # (60,)
read = C1[36:48] * torch.exp(total1[36:48] - total1[23])[:, None]  # (12, 4)
to_cut = dt1[12:24] * torch.exp(total1[23] - total1[12:24])  # (12,)
write = B1[12:24] * to_cut[:, None]  # (12, 4)
agrees("a thin product", read @ write.T, blocks[3, :, 1])

# %% [markdown]
# (Separate decays for the four numbers would leave the rank as it is; they would break `C @ B.T` on the diagonal. Something that
# bends each entry by itself, as the softmax of attention does, breaks the rank.)
#
# All blocks below the diagonal are made of such factors. Here `read` also holds the decay of the chunk in between, one number. Let the
# state carry that, and cut at the reader's own chunk: then one factor serves a whole row of blocks, and one a whole column. That
# gives an algorithm of four steps. Cut everything into chunks first:

# %%
Q = 12  # steps in a chunk
xs, dts, Bs, Cs = (t.unflatten(0, (-1, Q)) for t in (x1, dt1, B1, C1))
totals = torch.cumsum(dts * A1, dim=1)  # (chunks, Q), from each chunk's start
print(tuple(xs.shape), tuple(dts.shape), tuple(Bs.shape))

# %% [markdown]
# `totals` is the logarithm of the decay since the chunk's first step, that step included. In the pictures of the four steps, a lying
# bar is the factor of the steps that wrote, a standing bar that of the steps that read, and a disc the state between two chunks.
# What the step makes has a color, what earlier steps made is gray.
#
# ### Step 1: the chunk itself

# %% mystnb={"image": {"alt": "A lower triangular matrix drawn as five by five blocks. The five triangles on the diagonal are filled; the ten blocks below them are empty. Title: the chunk itself, a small masked matrix."}} tags=["hide-input"]
from helpers.teaching.ssd_pictures import chunk_picture

chunk_picture(1)
plt.show()

# %% [markdown]
# The masked matrix of before, for each chunk by itself. `@` does all chunks at once.

# %%
exponents = totals[:, :, None] - totals[:, None, :]  # (chunks, Q, Q)
later = torch.ones(Q, Q).triu(diagonal=1).bool()
own = torch.exp(exponents.masked_fill(later, -torch.inf))
own = own * (Cs @ Bs.mT) * dts[:, None, :]  # (chunks, Q, Q)
y_own = own @ xs  # (chunks, Q, headdim)

# %% [markdown]
# ### Step 2: what a chunk leaves behind

# %% mystnb={"image": {"alt": "The same blocks. The triangles on the diagonal are gray. In each block below the diagonal a flat bar is filled, as wide as the block: the factor that belongs to the steps that wrote."}} tags=["hide-input"]
chunk_picture(2)
plt.show()

# %% [markdown]
# The state at the chunk's end, if it had been empty at the start. Each write counts with its `dt` and fades from its own step to
# the last: `totals[:, -1:] - totals`. All blocks in one column of the picture share it, so it is computed once a chunk.

# %%
to_end = dts * torch.exp(totals[:, -1:] - totals)  # (chunks, Q)
added = xs.mT @ (to_end[..., None] * Bs)  # (chunks, headdim, d_state)

# %% [markdown]
# ### Step 3: what is carried

# %% mystnb={"image": {"alt": "The same blocks in gray. On the borders between chunks, along the diagonal, four dots stand for the states, and three arrows lead from each dot to the next one."}} tags=["hide-input"]
chunk_picture(3)
plt.show()

# %% [markdown]
# The recurrence is still there, but it takes one step a *chunk*: fade by the whole chunk, add what the chunk left.

# %%
h, carried = torch.zeros_like(added[0]), []
for fade, new in zip(torch.exp(totals[:, -1]), added, strict=True):
    carried.append(h)  # the state at the chunk's start
    h = fade * h + new
carried = torch.stack(carried)  # (chunks, headdim, d_state)

# %% [markdown]
# ### Step 4: what a step reads of the past

# %% mystnb={"image": {"alt": "The same blocks. Triangles, flat bars and the chain of states are gray. In each block below the diagonal a tall narrow bar is filled, as high as the block: the factor that belongs to the steps that read."}} tags=["hide-input"]
chunk_picture(4)
plt.show()

# %% [markdown]
# Each step asks the carried state with its `C`. The state has faded since the chunk's start, by `totals`.

# %%
y_past = torch.exp(totals)[..., None] * (Cs @ carried.mT)  # as y_own
y1 = (y_own + y_past).flatten(0, 1)  # (60, headdim)
agrees("four steps", y1, M1 @ x1)

# %% [markdown]
# That is the algorithm of Mamba-2. Three of the four steps are matrix products over all chunks at once, and the one loop that
# is left takes one turn a chunk. In the exercises you write it for any number of heads, and for lengths that do not divide.
#
# What does it cost? For each step: `C·B` and the product with `x` over the chunk, then one product to write the state and one to
# read it.


# %%
def chunk_operations(length, chunk=64, heads=16, headdim=64, d_state=16):
    width = heads * headdim
    return 2 * length * (chunk * (d_state + width) + 2 * d_state * width)


# %% mystnb={"image": {"alt": "Counted operations against the length, from 60 to 15,360 steps, both axes logarithmic. Loop and chunks are parallel straight lines that rise in proportion to the length, the chunks a little above the loop. The matrix rises twice as steeply: it starts near the chunks at 60 steps and lies a hundred times above both at 15,360. A dotted line marks 960 steps."}} tags=["hide-input"]
counted_at = [60, 240, 960, 3840, 15_360]
with style():
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for counts, name, mark, color in [
        ([operations(n)[1] for n in counted_at], "matrix", "s--", "marked"),
        (
            [chunk_operations(n) for n in counted_at],
            "chunks of 64",
            "o-",
            "accent",
        ),
        ([operations(n)[0] for n in counted_at], "loop", "^:", "ink"),
    ]:
        axes.loglog(counted_at, counts, mark, color=COLORS[color], label=name)
    axes.axvline(960, color=COLORS["quiet"], linestyle=":", linewidth=1)
    axes.set_xticks(counted_at, [f"{n:,d}" for n in counted_at])
    axes.minorticks_off()
    axes.set(xlabel="length (steps); 960 is a window", ylabel="operations")
    axes.set_title("Chunks: linear like the loop, products like the matrix")
    axes.legend()
plt.show()

# %%
for length in (960, 15_360):
    loop, matrix = operations(length)
    chunks = chunk_operations(length)
    print(f"{length:6,d} steps: chunks / loop = {chunks / loop:.1f},", end=" ")
    print(f"matrix / chunks = {matrix / chunks:.0f}")

# %% [markdown]
# More than the loop, by a factor that does not grow; far fewer than the matrix; and nearly all of them in matrix products.

# %% [markdown]
# ## The chunk size
#
# Small chunks mean many turns of the loop in step 3 and much carrying; large chunks mean large squares in step 1. `ssd_chunked` in
# `helpers.models` has the four steps for all heads. **Guess:** which chunk size is fastest for 960 steps, and how much does the
# result change with it?

# %%
import time
from functools import partial
from statistics import median

from helpers.models import ssd_chunked


# %%
def median_ms(call, repeats=5):
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))
    return median(times[1:])  # the first is not counted


# %% nbmake={"mock": {"CHUNK_REPEATS": 2}}
CHUNK_REPEATS = 20 if device == "cuda" else 7

# %%
torch.manual_seed(SEED)
windows = 32 if device == "cuda" else 1
many = example(windows, 960, 16, 64, groups=1, d_state=16)
single = [t.float().to(device) for t in many]  # 32-bit


def two_heads(x, dt, A, B, C, D):  # of one window: enough to compare
    return x[:1, :, :2], dt[:1, :, :2], A[:2], B[:1], C[:1], D[:2]


two_right = ssd_recurrence(*two_heads(*many))  # (1, 960, 2, 64)

# %%
chunk_sizes = [8, 16, 32, 64, 128, 256, 512]
chunk_ms = []
for chunk_size in chunk_sizes:
    scan = partial(ssd_chunked, *single, chunk_size=chunk_size)
    agrees(f"chunks of {chunk_size}", scan()[:1, :, :2], two_right, 1e-4)
    chunk_ms.append(median_ms(scan, CHUNK_REPEATS))
best = chunk_sizes[int(np.argmin(chunk_ms))]
record(best_chunk=best, best_ms=min(chunk_ms), largest_chunk_ms=chunk_ms[-1])
record(smallest_chunk_ms=chunk_ms[0])

# %% mystnb={"image": {"alt": "Time of the chunked scan against the chunk size, both axes logarithmic, from 8 to 512 steps. A dashed line, the counted operations scaled to meet the measurement at 64, rises from left to right. The measured times lie above it for the smallest chunks, where the loop over chunks is long, reach a minimum, and rise with it toward the largest."}} tags=["hide-input"]
from matplotlib.ticker import LogLocator


def plain_ticks(axis):
    """1, 2, 5, 10 and so on, written as they are."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.axes.minorticks_off()


counted = [chunk_operations(960, q) for q in chunk_sizes]
scaled = [c / counted[3] * chunk_ms[3] for c in counted]
with style():
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    axes.loglog(
        chunk_sizes, chunk_ms, "o-", color=COLORS["accent"], label="measured"
    )
    axes.loglog(
        chunk_sizes,
        scaled,
        "--",
        color=COLORS["quiet"],
        label="counted operations, to scale at 64",
    )
    axes.set_xticks(chunk_sizes, [str(q) for q in chunk_sizes])
    plain_ticks(axes.yaxis)
    axes.set(xlabel="chunk size (steps)", ylabel="time (ms)")
    axes.set_title(f"960 steps, {windows} at a time, forward, {machine}")
    axes.legend()
plt.show()

# %% [markdown]
# The result is the same with every chunk size, to the rounding of 32-bit numbers. (The rounding grows a little with the chunk: sums
# get longer. More on that below.) The time is not the same: on the machine that stored
# this page (<span data-result="machine">NVIDIA H100 80GB HBM3</span>, 32-bit numbers), <span data-result="best_ms:.2f">1.90</span> ms with chunks of <span data-result="best_chunk:d">64</span>, the best of these,
# <span data-result="smallest_chunk_ms:.2f">5.02</span> with chunks of 8 and <span data-result="largest_chunk_ms:.2f">6.87</span> with chunks
# of 512.
#
# `chunk_operations` says where to look. Of its two terms, the squares of step 1 grow with the chunk, and the states of steps 2 and 4
# do not; the two are equal at a chunk of about twice `d_state`. Below that, smaller chunks save few operations more, while the
# turns of step 3, which are no operations to speak of, double each time. That is 32 steps for a `d_state` of 16, and for 128, the default
# of Mamba-2, about 256: its default chunk.
#
# ### Lengths that do not divide
#
# 960 is no multiple of 128, 256 or 512, and it worked. Think of `dt` as a clock again: a step of `dt = 0` fades nothing and writes
# nothing. So the last chunk is filled up with such steps, and what they put out is thrown away.


# %%
def filled_up(x, dt, A, B, C, D, extra=3):
    x, dt, B, C = (
        F.pad(t, (0, 0) * (t.ndim - 2) + (0, extra)) for t in (x, dt, B, C)
    )
    print(tuple(x.shape), "and dt at the end:", dt[0, -extra:, 0].tolist())
    return ssd_recurrence(x, dt, A, B, C, D)[:, :-extra]


odd = example(1, 37, 4, 3, groups=2, d_state=5)
agrees("37 steps filled up to 40", filled_up(*odd), ssd_recurrence(*odd))

# %% [markdown]
# ## The ladder
#
# Four rungs, one check: output and all gradients against the loop in float64. The length, 301, is a multiple of no chunk.

# %%
torch.manual_seed(SEED)
parts = ["x", "dt", "A", "B", "C", "D"]
ladder = example(2, 301, 4, 64, groups=1, d_state=16)
weights = torch.randn(2, 301, 4, 64, dtype=torch.float64)


def output_and_gradients(scan, dtype=torch.float32, device=device):
    leaves = [t.to(device, dtype).requires_grad_() for t in ladder]
    y = scan(*leaves)
    loss = (y * weights.to(y)).sum()
    gradients = torch.autograd.grad(loss, leaves)
    return {"output": y.detach()} | dict(zip(parts, gradients, strict=True))


oracle = output_and_gradients(ssd_recurrence, torch.float64, "cpu")


# %%
def climb(name, scan, tolerance):
    found = output_and_gradients(scan)
    agrees(f"{name}: output", found["output"], oracle["output"], tolerance)
    for part in parts:
        agrees(f"  gradient of {part}", found[part], oracle[part], tolerance)


climb("loop", recurrence, 1e-4)


# %%
def whole_matrix(x, dt, A, B, C, D):
    total = torch.cumsum(dt * A, dim=1)  # (batch, length, heads)
    exponent = total[:, :, None] - total[:, None, :]  # (batch, i, j, heads)
    future = torch.ones(x.shape[1], x.shape[1], device=x.device).triu(1).bool()
    decay = torch.exp(exponent.masked_fill(future[..., None], -torch.inf))
    M = torch.einsum("bin,bjn->bij", C[:, :, 0], B[:, :, 0])  # a single group
    M = M[..., None] * decay  # (batch, i, j, heads)
    y = torch.einsum("bijh,bjh,bjhp->bihp", M, dt, x)
    return y + D[:, None] * x


climb("whole matrix", whole_matrix, 1e-4)

# %%
climb("chunks of 64", lambda *t: ssd_chunked(*t, chunk_size=64), 1e-4)

# %% [markdown]
# The last rung is the kernel that the authors of Mamba-2 wrote, from the package `mamba_ssm`: the same four steps, each a
# program for the GPU. It rounds its factors to TF32, with 10 bits of fraction, so about three decimals are all that one may ask.


# %%
@needs("a GPU", "mamba_ssm")
def the_official_kernel():
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    def official(x, dt, A, B, C, D):
        return mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size=256, D=D)

    climb("official kernel", official, 1e-2)


# %% [markdown]
# The same map on every rung. What differs is the time. One window (not 32, as above), chunks of 64, 32-bit numbers, forward
# only:

# %% nbmake={"mock": {"TURNS": 1}}
TURNS = 5

# %%
window = [
    t.float().to(device) for t in example(1, 960, 16, 64, groups=1, d_state=16)
]
for name, scan in [
    ("loop", recurrence),
    ("matrix", whole_matrix),
    ("chunks", ssd_chunked),
]:
    ms = median_ms(partial(scan, *window), TURNS)
    print(f"{name:8s} {ms:8.2f} ms")
    record(**{f"{name}_ms": ms})

# %% [markdown]
# On the machine that stored this page (<span data-result="machine">NVIDIA H100 80GB HBM3</span>) the loop takes <span data-result="loop_ms:.1f">390.3</span> ms, the matrix
# <span data-result="matrix_ms:.1f">1.1</span> ms and the chunks <span data-result="chunks_ms:.2f">1.73</span> ms, although the
# chunks have more operations to do than the loop.
#
# On a large GPU the whole matrix comes first. One window does not fill it: ten times the operations cost nothing as long as
# there is room for them, and what counts is how many programs have to be started. That ends soon. The matrix grows with the
# square, in memory too: at 15,360 steps the decays of 16 heads alone are 16 · 15,360² numbers, some 15 GB.
# <!-- given: that many numbers of 4 bytes -->

# %% [markdown]
# ## Cost against length, measured
#
# <a id="lab-linear"></a>Now to the sentence that everybody quotes: attention costs the square of the length, Mamba-2 costs the
# length. One of the four field notes that this book started from ([note B](../book/field_notes.md)) concludes: Transformers are
# "unusable for long EEG". Let us see.
#
# `measure_length` times whole layers, forward and backward: one layer of a Transformer (attention without a mask and a
# feedforward part of four times the width, as PyTorch has it) and one bidirectional layer of the detector (two Mamba-2, one
# reading backward, joined). The number of steps in a batch stays the same, 64 windows of 960 where there is a GPU (in 16-bit
# arithmetic there, as in training): short sequences come many at a time, long ones alone, and the longest are more than that. So linear cost is a *flat* line. (Without a GPU the layers are narrow and
# the sequences short, or you would wait.)
#
# **Guess:** at which length does Mamba-2 begin to win? And at 960?

# %% nbmake={"mock": {"LENGTHS": [60, 240, 960], "REPEATS": 2, "STEPS": 960}}
if device == "cuda":
    LENGTHS = [960, 3840, 15_360, 61_440, 245_760, 983_040]
    STEPS, WIDTH, REPEATS = 61_440, 512, 10
else:
    LENGTHS, STEPS, WIDTH, REPEATS = [240, 960, 1920, 3840], 3840, 64, 5

# %%
from helpers.benchmarks.length import crossover, measure_length

arithmetic = "bfloat16 (autocast)" if device == "cuda" else "float32"
record(arithmetic=arithmetic)
print(f"{machine}, {arithmetic}, width {WIDTH}, forward and backward")
costs = measure_length(LENGTHS, STEPS, d_model=WIDTH, repeats=REPEATS)
for cost in costs:
    line = f"{cost.length:7,d} x {cost.batch:2d}  {cost.layer:12s}"
    if cost.ms is None:
        print(f"{line} left out: about {cost.expected_s:.0f} s expected")
        continue
    line += f" {cost.backend:9s} {cost.ms:7.1f} ms"
    if cost.busy_ms:
        line += f", GPU busy {cost.busy_ms:6.1f}"
        line += f", {cost.peak_mib / 1024:4.1f} GiB"
    print(f"{line}, {cost.ns_per_step:5.0f} ns a step")

# %% tags=["hide-input"]
timed = {(cost.layer, cost.length): cost for cost in costs if cost.ms}
nearest = min(LENGTHS, key=lambda n: abs(n - 960))


def rounded(meet):  # between two lengths far apart: two digits at most
    return f"about {round(meet, -2):,.0f}" if meet else "none measured"


record(crossover=rounded(crossover(costs)))
record(busy_crossover=rounded(crossover(costs, busy=True)))
record(
    transformer_at_960_ms=timed["Transformer", nearest].ms,
    mamba_at_960_ms=timed["Bi-Mamba-2", nearest].ms,
    mamba_over_transformer_at_960=timed["Bi-Mamba-2", nearest].ms
    / timed["Transformer", nearest].ms,
)
longest = max(length for layer, length in timed if layer == "Transformer")
record(
    longest_of_both=longest,
    transformer_over_mamba_at_longest=timed["Transformer", longest].ms
    / timed["Bi-Mamba-2", longest].ms,
)
record(first_call_s=max(c.first_s for c in timed.values()))
if device == "cuda":
    transformer, mamba = (
        timed[layer, nearest] for layer in ("Transformer", "Bi-Mamba-2")
    )
    record(mamba_busy_ms=mamba.busy_ms, transformer_busy_ms=transformer.busy_ms)
    record(busy_over_busy=mamba.busy_ms / transformer.busy_ms)

# %% mystnb={"image": {"alt": "Time per step in nanoseconds against the length of the sequence, both axes logarithmic. The line of the Transformer layer starts below that of the bidirectional Mamba-2 layer at short lengths, bends upward and crosses it, and from there rises in proportion to the length. The Mamba-2 line stays nearly flat over the whole range. A thin dotted line below each shows the GPU's own time, where there is a GPU: at short lengths it lies well below the solid one. A dotted vertical line marks 960 steps, where the Transformer layer is the cheaper one."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for layer, marker, color, rise in [
        ("Transformer", "s--", "marked", 6),
        ("Bi-Mamba-2", "o-", "accent", -18),
    ]:
        points = [(c.length, c.ns_per_step) for c in costs if c.layer == layer]
        points = [(n, ns) for n, ns in points if ns]
        axes.loglog(*zip(*points, strict=True), marker, color=COLORS[color])
        axes.plot(
            [c.length for c in costs if c.layer == layer],
            [c.busy_ns_per_step for c in costs if c.layer == layer],
            ":",
            color=COLORS[color],
        )
        axes.annotate(
            layer,
            points[-1],
            xytext=(-10, rise),
            textcoords="offset points",
            ha="right",
            color=COLORS[color],
        )
    axes.axvline(960, color=COLORS["quiet"], linestyle=":", linewidth=1)
    axes.set(
        xlabel="length (steps); 960 is a window; dotted: GPU busy",
        ylabel="ns a step",
    )
    axes.set_title(f"Width {WIDTH}, {arithmetic}, {machine}")
    axes.set_xticks(LENGTHS, [f"{n:,d}" for n in LENGTHS])
    plain_ticks(axes.yaxis)
plt.show()

# %% [markdown]
# The claim is true, and the conclusion is not. The numbers are those of one machine,
# <span data-result="machine">NVIDIA H100 80GB HBM3</span>, in <span data-result="arithmetic">bfloat16 (autocast)</span>, forward and
# backward. Nearly flat against rising: the cost of Mamba-2 is linear. The two meet at
# <span data-result="crossover">about 10,500</span> steps, and at <span data-result="longest_of_both:,d">245,760</span> the Transformer layer takes
# <span data-result="transformer_over_mamba_at_longest:.0f">21</span> times as long. But at **960 steps**, where this book's detector
# has its layers, the bidirectional Mamba-2 takes <span data-result="mamba_at_960_ms:.1f">14.1</span> ms and the Transformer layer
# <span data-result="transformer_at_960_ms:.1f">7.7</span>, that is
# <span data-result="mamba_over_transformer_at_960:.2f">1.83</span> times as much. **At this length, O(N) wins nothing.**
#
# Part of the difference is not arithmetic. A GPU gets its work kernel by kernel from a Python program, and when the kernels are short
# it waits for the next one. Here it is busy for <span data-result="gpu/mamba_busy_ms:.1f">10.9</span> of the
# <span data-result="gpu/mamba_at_960_ms:.1f">14.1</span> ms with Mamba-2 (many small kernels), for
# <span data-result="gpu/transformer_busy_ms:.1f">7.5</span> of the <span data-result="gpu/transformer_at_960_ms:.1f">7.7</span> ms with the
# Transformer layer (a few large ones). So a faster CPU, or a captured CUDA graph, brings the two closer, and the meeting point moves from one
# host to the next with the same GPU in it. Count the GPU's own time alone, and they meet at
# <span data-result="gpu/busy_crossover">about 4,600</span> steps; at 960, Mamba-2 takes
# <span data-result="gpu/busy_over_busy:.2f">1.46</span> times as long.
#
# Why no saving? Attention proper is a small part of a Transformer layer when the sequence is short. Count, at the detector's width
# of 512:


# %%
def transformer_operations(length, width=512):
    dense = 2 * length * (4 * width**2 + 2 * width * 4 * width)
    attention = 4 * length**2 * width
    return dense + attention, attention


def mamba_operations(length, chunk, width=512, d_state=16):
    inner = 2 * width
    project = 2 * length * width * (2 * inner + 2 * d_state + 16 + inner)
    filled = -(-length // chunk) * chunk  # whole chunks
    scan = chunk_operations(filled, chunk, inner // 64, 64, d_state)
    join = 2 * length * 2 * width * width
    return 2 * (project + scan) + join


# %%
for length in (960, 3840, 15_360):
    whole, attention = transformer_operations(length)
    print(f"{length:6,d} steps, in billions")
    print(
        f"  Transformer {whole / 1e9:.1f}, of which attention {attention / 1e9:.1f}"
    )
    for chunk in (64, 256):
        count = mamba_operations(length, chunk) / 1e9
        print(f"  Bi-Mamba-2 {count:.1f} with chunks of {chunk}")

# %% [markdown]
# At 960 steps, attention is a quarter of the Transformer layer, and two Mamba-2 with their projections have about as much to do
# as the whole of it, a little less or a little more as the chunk size will have it. A square is only expensive once it is large.
# (With as much to do, why is it *slower* there, and the meeting point not at 960 but further on? The count holds products of matrices only. The convolutions, gates, norms and
# flips of Mamba-2 are little arithmetic, but each sends every number through memory once more. Chapter 14, to come, times them.)
#
# Memory does not show the square, either, although Mamba-2 takes more of it, and both take more once a single sequence is longer than
# the batch was (the last column of the table, where there is a GPU): PyTorch's attention never stores
# its matrix, but goes through it block by block ([FlashAttention](https://arxiv.org/abs/2205.14135)). The time it cannot avoid.
#
# And how long is "long EEG"? A recording of a day is long. But a detector reads it in windows of a minute, each by itself, with
# attention or with Mamba-2, so the cost of a day is linear in the day for *either*. The square would come with windows of
# an hour. And Mamba-2 could do without longer windows: it has a state, which could be carried from one window to the next. This
# detector does not do that, and it could not, for the half of it that reads backward.
#
# <a id="lab-convolution"></a>Field note B also says what a plain convolution in place of Mamba-2 would lose: "the O(N) sequence
# modeling advantage". Time one, with a kernel of five steps:

# %%
short = 61_440 if device == "cuda" else 3840
for length in (short, 4 * short, 16 * short):
    signal = torch.randn(1, WIDTH, length, device=device)
    taps = torch.randn(WIDTH, 1, 5, device=device)
    ms = median_ms(partial(F.conv1d, signal, taps, groups=WIDTH))
    print(f"{length:6,d} steps: {ms * 1e6 / length:6.1f} ns a step")

# %% [markdown]
# No sign of a square: a convolution is linear, too. What it would lose is the state.
# [Chapter 07](07_bidirectional.ipynb) shows that on a task.
#
# (Not counted above is the first call at each length; the longest took <span data-result="first_call_s:.1f">4.0</span> s, with
# kernels that an earlier run had left on disk; from nothing it is a minute or more. With a GPU
# the measurement ends at 983,040 steps, for a reason that stands below.)

# %% [markdown]
# ## What can go wrong here
#
# **A quotient of cumulative products.** The decay from step $j$ to step $i$ is a quotient: $p_i / p_j$, with $p$ the product of
# all decays so far. It is right on paper. Here is one chunk of 128 steps with `dt` 0.1 and a rate of 16, both of which a new
# Mamba-2 has:

# %%
log_fade = torch.full((128,), 0.1 * -16.0)  # dt·A, 32-bit
product = torch.exp(torch.cumsum(log_fade, dim=0))
quotient = (product[:, None] / product[None, :]).tril()
print("smallest product:", product.min().item())
print(f"not a number: {quotient.isnan().sum()} of {quotient.numel():,d}")

# %%
summed = torch.cumsum(log_fade, dim=0)
by_sums = torch.exp((summed[:, None] - summed[None, :]).clamp(max=0)).tril()
print("by differences:", int(by_sums.isnan().sum()))

# %% [markdown]
# The product runs out of the range of 32-bit numbers and becomes 0, and 0/0 is no number. Take differences of the sums *first*,
# and exp of what is never positive *last*.
#
# **The mask after exp.** Above the diagonal the exponents are positive, and exp gives infinity there. Cutting that off afterwards
# mends the output. **Guess:** and the gradient?

# %%
leaf = log_fade.clone().requires_grad_()
leaf_sum = torch.cumsum(leaf, dim=0)
late = torch.exp(leaf_sum[:, None] - leaf_sum[None, :]).tril()  # then mask
(gradient,) = torch.autograd.grad(late.sum(), leaf)
print("output, not a number:  ", int(late.isnan().sum()), "of", late.numel())
print("gradient, not a number:", int(gradient.isnan().sum()), "of", len(leaf))

# %% [markdown]
# Going backward, the zero of the mask meets the infinity, and 0 times infinity is no number. The loss looks right, the first step
# of training destroys every weight. So cut the exponents first: fill with `-inf`, or clamp at 0.
#
# **Sums in 16 bits.** bfloat16 has 8 bits of fraction. A cumulative sum of `dt·A` grows with the chunk, and the differences of
# neighbors drown in its rounding:

# %%
torch.manual_seed(SEED)
dtA = -0.5 * torch.rand(512)
for count in (16, 64, 256, 512):
    exact_sum = torch.cumsum(dtA[:count].double(), dim=0)
    rough_sum = dtA[:count].bfloat16().cumsum(dim=0).double()
    wanted = exact_sum[8:] - exact_sum[:-8]  # decay over eight steps, in logs
    worst = (rough_sum[8:] - rough_sum[:-8] - wanted).abs().max()
    print(
        f"chunk of {count:3d}: a decay over 8 steps off by {worst.expm1():.0%}"
    )

# %% [markdown]
# Keep `dt`, `A` and their sums in 32 bits, under autocast as well. `ssd_chunked` and the official kernel do.
#
# **The carry forgotten.** A scan that drops the state between chunks is right up to the end of the first. A test with one short
# sequence sees nothing:


# %%
def forgetful(x, dt, A, B, C, chunk_size):
    pieces = zip(
        *(t.split(chunk_size, dim=1) for t in (x, dt, B, C)), strict=True
    )
    return torch.cat(
        [ssd_chunked(x, dt, A, B, C) for x, dt, B, C in pieces], dim=1
    )


# %%
for length in (16, 17, 100):
    *tensors, _ = example(1, length, 2, 3, groups=1, d_state=4)
    found, expected = forgetful(*tensors, 16), ssd_recurrence(*tensors)
    off = (found - expected).abs().max() / expected.abs().max()
    print(f"{length:3d} steps, chunk size 16: off by {off:.0e}")

# %% [markdown]
# Test at lengths below, at, just above and far above a chunk, and at one that does not divide.
#
# **Only multiples of the chunk.** The short listing in the Mamba-2 paper, which many projects copied, asserts that the length
# divides by the chunk. 960 does by 64, and does not by 128 or 256. Fill up with `dt = 0`.
#
# **Offsets in 32 bits.** The official kernels (mamba_ssm up to 2.3.2.post1) compute places in memory in 32 bits. Beyond
# $2^{31}$ numbers they wrap, and the result is an illegal access or a wrong number without any error
# ([state-spaces/mamba #1015](https://github.com/state-spaces/mamba/issues/1015)). One step of this model's projection is 2,096
# numbers wide (1,024 each for gate and input, 16 each for B and C, and 16 step lengths):

# %%
print(f"first step out of reach: {2**31 // 2096:,d}")

# %% [markdown]
# The measurement above stays below it, with 983,040.
#
# | you see | because | do |
# |---|---|---|
# | `nan` in the output | cumulative products divided | differences first, exp last |
# | right output, `nan` after one step of training | exp before the mask | mask the exponents, and test gradients |
# | output slightly off, and more so with larger chunks | decays summed in 16 bits | sum in 32 bits |
# | short tests pass, long sequences are off | the carry | test beyond one chunk |
# | the first call takes a minute | the official kernels try out many variants for each new shape | time the second call |
# | `illegal memory access` from about a million steps on | 32-bit offsets | shorter sequences, or our chunks |

# %% [markdown]
# ## Exercises
#
# From the recurrence to your own chunked scan, in five pieces; each one uses the ones before. All tensors are float64. The first
# four are the ideas above, for one head: write them from what you remember and look back when you are stuck. The last one, for any
# number of heads and any length, stands nowhere above.
#
# **05.1** Write `scan_one_head(x, dt, A, B, C)`: the loop for one head, without `D`. `x` is (length, headdim), `dt` (length,), `A` a
# tensor with one number, `B` and `C` (length, d_state). Start from a state of zeros, (headdim, d_state); return (length, headdim).

# %%
from helpers.teaching import check, solution


def scan_one_head(x, dt, A, B, C): ...


check("05.1", scan_one_head)

# %% tags=["remove-input"]
solution("05.1")

# %% [markdown]
# **05.2** Write `decay_matrix(dt, A)`: (length, length), in row $i$ and column $j$ what is left at step $i$ of a write at step $j$:
# $\exp(A \sum_{k=j+1}^{i} \Delta_k)$, 1 on the diagonal, 0 above. It has to stay a number where `dt` is 900, and
# so has its gradient.


# %%
def decay_matrix(dt, A): ...


check("05.2", decay_matrix)

# %% tags=["remove-input"]
solution("05.2")

# %% [markdown]
# **05.3** Write `own_chunk(x, dt, A, B, C)`: the output of one chunk from an empty state, (steps, headdim), as one masked matrix
# times `x`. Use your `decay_matrix`. The arguments are those of 05.1.


# %%
def own_chunk(x, dt, A, B, C): ...


check("05.3", own_chunk)

# %% tags=["remove-input"]
solution("05.3")

# %% [markdown]
# **05.4** Write `left_behind(x, dt, A, B)`: the state at the end of the chunk, from an empty one at its start, (headdim, d_state),
# without a loop.


# %%
def left_behind(x, dt, A, B): ...


check("05.4", left_behind)

# %% tags=["remove-input"]
solution("05.4")

# %% [markdown]
# **05.5** Write `chunked_scan(x, dt, A, B, C, chunk_size)` for the shapes of the table above, without `D`, for any length. Head `h`
# reads group `h // (heads // groups)`. Carry the state from chunk to chunk. It is compared with the recurrence at 37 steps with
# chunks of 8, and at 101 with chunks of 16.


# %%
def chunked_scan(x, dt, A, B, C, chunk_size): ...


check("05.5", chunked_scan)

# %% tags=["remove-input"]
solution("05.5")

# %% [markdown]
# ## Recap
#
# - A state space layer is a loop: fade, write, read. Its time constants say how long it remembers; a Mamba-2 of this book has
#   16, one for each head. In twelve new ones they reach from <span data-result="shortest_tau:.2f">0.04</span> to
#   <span data-result="longest_tau:.0f">50</span> seconds.
# - With a fixed decay the loop is also a convolution. With a `dt` that the input chooses, it is not; it still is a masked matrix.
# - What passes from chunk to chunk passes through the state, so the blocks below the diagonal are thin: rank `d_state`. With one
#   decay a head, the rest is products of matrices. So the cost is linear in the length. The chunk size changes the cost, never
#   the result.
# - Linear is not the same as cheap. At 960 steps this layer costs as much as a Transformer layer or more. Where the two meet
#   depends on the machine and the arithmetic: here, at <span data-result="crossover">about 10,500</span> steps.
# - What you check against is a loop in float64: at several lengths, gradients included.
#
# ## What next
#
# Around this scan stand a projection, a short convolution and a gate. [Chapter 06](06_mamba2_block.ipynb) takes that block apart,
# tensor by tensor, and [chapter 07](07_bidirectional.ipynb) lets two of them read in both directions. [The paper](https://arxiv.org/abs/2405.21060) proves what you measured, and
# more {cite:p}`dao2024mamba2`. The [API reference](../book/api.md) describes `ssd_recurrence` and `ssd_chunked`.
