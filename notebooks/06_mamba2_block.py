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
# # The Mamba-2 block
#
# Chapter 05 ended with a scan: a state that fades, takes in and is read out, with an input that decides how much of each.
# A scan alone is no layer. Somebody has to make its arguments out of the input, and to turn what it reads into an output.
# That is the block, and the detector of this book has twelve of them. Here you walk through one, tensor by tensor, until
# your own lines give the same numbers as the layer.
#
# **You will**
#
# - find out where the 1,603,792 parameters of one block sit, and why the state space model has hardly any of them;
# - write its forward pass yourself, line by line, each with its shape, and compare;
# - see what the short convolution spans in milliseconds, and why its width is 2, 3 or 4;
# - ask for a backend by name, get it or an error, and see how far apart their answers are;
# - read half an hour of EEG in pieces, and one step at a time, with a state that never grows;
# - measure what weight decay does to a long memory.
#
# **You need** PyTorch, [chapter 00](00_start_here.ipynb) for the recording, and [chapter 05](05_ssm_to_ssd.ipynb) for the
# scan. No GPU; the cells that need one show what they printed on ours.
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
import torch
import torch.nn.functional as F

from helpers.detection import best_device
from helpers.environment import expect_error
from helpers.models import Mamba, Mamba2, ssd_chunked
from helpers.teaching import COLORS, explore, needs, record, style

device = best_device()
device

# %% [markdown]
# ## One block, from outside
#
# A block reads a sequence and writes one of the same shape: `(batch, length, d_model)`. In the detector `d_model` is 512,
# and a window of 60 seconds is 960 steps, 16 a second.
#
# For something real to read we take the recording of chapter 00, a child with absence seizures, from
# [eeghdf 0.2.4](https://pypi.org/project/eeghdf/0.2.4/) by Christopher Lee-Messer (BSD-3-Clause). Sixteen samples of 19
# channels are one step. A random linear map makes 512 numbers of these 304. It stands in for the detector's encoder.

# %%
from helpers.eeg import load, preprocess, seizures

SEED = 6
torch.manual_seed(SEED)
raw = load("absence")
samples = torch.from_numpy(preprocess(raw))  # (19, samples)
steps = samples.unfold(1, 16, 16)  # (19, steps, 16)
steps = steps.permute(1, 0, 2).flatten(1)  # (steps, 304)
eeg = (steps @ torch.randn(304, 512) / 304**0.5)[None]  # (1, steps, 512)
eeg = (eeg / eeg.std()).to(device)
tuple(eeg.shape)

# %%
u = eeg[:, 16 * 1390 : 16 * 1450]  # a minute with a seizure in it
block = Mamba2(d_model=512, d_state=16, backend="torch").to(device)
with torch.inference_mode():
    print(tuple(u.shape), "->", tuple(block(u).shape))

# %% [markdown]
# **Guess before the next cell.** It has 1,603,792 parameters. There are two linear maps, one into the block and one out of
# it; a convolution; a norm; and the scan, with its rates, its steps and its skip. How many of the parameters belong to the
# scan: half, a tenth, a thousandth?

# %%
total = sum(p.numel() for p in block.parameters())
for name, p in block.named_parameters():
    shape = str(tuple(p.shape))
    share = 100 * p.numel() / total
    print(f"{name:16s} {shape:14s} {p.numel():9,d} {share:8.3f} %")
print(f"{'':31s} {total:9,d}")
scan = sum(p.numel() for p in (block.A_log, block.dt_bias, block.D))
record(scan_share=100 * scan / total, in_proj_rows=block.in_proj.out_features)

# %% [markdown]
# Forty-eight. Three numbers for each of 16 heads: that is all that the scan itself learns,
# <span data-result="scan_share:.3f">0.003</span> % of the block. What it does at each step (how long the step lasts, what to
# write, what to ask for) comes out of `in_proj`, from the input. The rest of this chapter is about how.
#
# These are the names and shapes of `mamba_ssm.Mamba2`, so a file of weights fits both.

# %% [markdown]
# ## Down the block, one line a step
# <a id="walk"></a>
#
# First the names. Sizes on top, tensors below:
#
# | in code | here | what it is |
# |---|---|---|
# | `length` | 960 | steps of the sequence |
# | `d_model` | 512 | width of the block's input and output |
# | `d_inner` | 1024 | width inside: `expand`, 2, times `d_model` |
# | `nheads`, `headdim` | 16, 64 | heads, and channels a head; their product is `d_inner` |
# | `d_state` | 16 | numbers that each channel remembers |
# | `ngroups` | 1 | groups of heads that share what they write and ask for |
# | `d_conv` | 4 | width of the convolution, in steps |
# | `z` | (960, 1024) | the gate |
# | `x` | (960, 16, 64) | what may be remembered |
# | `B`, `C` | (960, 1, 16) | where in the state it is written, and where it is read |
# | `dt` | (960, 16) | how long a step lasts, for each head |
# | `A`, `D` | (16,) | rate of fading, and skip, of each head; with `dt_bias`, what the scan has of its own, whatever the input |
#
# And the block as a whole. Time runs into the page: every bar stands for the channels of one step.


# %% tags=["hide-input"]
def bar(axes, x, y, width, text, color="accent", height=0.34):
    wide = max(width / 400, 0.16)
    axes.barh(y, wide, height, left=x, color=COLORS[color], alpha=0.85)
    inside = width > 200
    axes.text(
        *(x + wide / 2, y if inside else y - 0.3),
        *(text,),
        ha="center",
        va="center",
        fontsize=9,
        color="white" if inside else COLORS["ink"],
    )
    return x + wide / 2


def arrow(axes, start, end, text=""):
    arrowprops = {"arrowstyle": "->", "color": COLORS["quiet"]}
    axes.annotate("", end, start, arrowprops=arrowprops)
    middle = (start[0] + end[0]) / 2 + 0.08, (start[1] + end[1]) / 2
    axes.text(*middle, text, fontsize=9, va="center")


# %% mystnb={"image": {"alt": "The block as a flow of bars from top to bottom; the width of a bar is its number of channels. At the top the input u, 512 wide. Arrows, in_proj, lead to a row of three bars: z, 1024 wide; x B C, 1056 wide; dt, 16 wide. From x B C an arrow, convolution and SiLU, leads to three bars: x, 1024; B, 16; C, 16. From them and from dt, which passes a softplus, arrows lead to a box, the scan with A and D, and on to y, 1024 wide. z goes past all of this and meets y at a box that multiplies by SiLU of z and then norms. Below it out_proj leads to the output, 512 wide."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 6.2), layout="constrained")
    bar(axes, 3.6, 7, 512, "u  512", "ink")
    for to in (1.6, 4.2, 6.4):
        arrow(axes, (4.2, 6.8), (to, 6.25))
    axes.text(4.5, 6.52, "in_proj", fontsize=9, va="center")
    bar(axes, 0, 6, 1024, "z  1024", "quiet")
    bar(axes, 2.9, 6, 1056, "x B C  1056")
    bar(axes, 6.3, 6, 16, "dt 16", "marked")
    arrow(axes, (4.2, 5.8), (4.2, 5.05), "convolution, SiLU")
    bar(axes, 2.9, 4.8, 1024, "x  1024")
    bar(axes, 5.65, 4.8, 16, "B 16")
    bar(axes, 6.05, 4.8, 16, "C 16")
    arrow(axes, (6.38, 5.5), (6.38, 3.9), "softplus")
    for to in (4.2, 5.73, 6.13):
        arrow(axes, (to, 4.35), (to, 3.9))
    axes.barh(3.6, 4.0, 0.5, left=2.8, color=COLORS["line"])
    axes.text(4.8, 3.6, "scan, with A and D", ha="center", va="center")
    arrow(axes, (4.2, 3.3), (4.2, 2.85))
    bar(axes, 2.9, 2.6, 1024, "y  1024")
    arrow(axes, (1.28, 5.8), (1.28, 1.85))
    arrow(axes, (4.2, 2.4), (4.2, 1.85))
    axes.barh(1.6, 5.5, 0.45, left=0, color=COLORS["line"])
    axes.text(2.75, 1.6, "y times SiLU(z), then norm", ha="center", va="center")
    arrow(axes, (4.2, 1.35), (4.2, 0.8), "out_proj")
    bar(axes, 3.6, 0.6, 512, "512", "ink")
    axes.axis("off")
    axes.set(ylim=(0.3, 7.3), title="One step through the block")
plt.show()

# %% [markdown]
# Now line by line. **In.** One linear map makes everything: the gate `z`, what goes through the convolution, and the step
# lengths. The order of the five parts is a convention that no shape would catch, should you get it wrong.

# %%
with torch.inference_mode():
    projected = F.linear(u, block.in_proj.weight)  # (1, 960, 2096)
z, raw_xBC, raw_dt = projected.split([1024, 1024 + 16 + 16, 16], dim=-1)
print(tuple(z.shape), tuple(raw_xBC.shape), tuple(raw_dt.shape))

# %% [markdown]
# **Convolution.** Each of the 1,056 channels has its own four weights, and looks at its own last four steps. Three steps of
# zeros in front make it causal. SiLU, $x\,\sigma(x)$, is the nonlinearity.

# %%
with torch.inference_mode():
    padded = F.pad(raw_xBC.mT, (3, 0))  # (1, 1056, 963)
    w, b = block.conv1d.weight, block.conv1d.bias  # (1056, 1, 4), (1056,)
    xBC = F.silu(F.conv1d(padded, w, b, groups=1056)).mT  # (1, 960, 1056)

# %% [markdown]
# **Heads.** What comes out is cut in three. `x` is what may be remembered, in 16 heads of 64 channels. `B` says where in the
# state it is written, `C` where it is read; with one group, all heads share both.

# %%
x, B, C = xBC.split([1024, 16, 16], dim=-1)
x = x.unflatten(-1, (16, 64))  # (1, 960, 16, 64)
B, C = B[:, :, None], C[:, :, None]  # (1, 960, 1, 16): one group
print(tuple(x.shape), tuple(B.shape), tuple(C.shape))

# %% [markdown]
# **Step lengths and rates.** A step has to last longer than nothing, so `dt` passes a softplus, $\log(1 + e^x)$. A rate has to
# be negative, so $A = -e^{\texttt{A\_log}}$. No constraint is needed on what is learned.

# %%
with torch.inference_mode():
    dt = F.softplus(raw_dt + block.dt_bias)  # (1, 960, 16)
    A = -torch.exp(block.A_log)  # (16,)
print(tuple(dt.shape), f"A from {A.min():.1f} to {A.max():.1f}")

# %% [markdown]
# **Scan.** Chapter 05 in one call. The skip `D` adds the input once more, each head with its own weight: 1 at the start.

# %%
with torch.inference_mode():
    remembered = ssd_chunked(x, dt, A, B, C, chunk_size=64)
    skipped = block.D[:, None] * x  # (1, 960, 16, 64), both
heads = (remembered + skipped).flatten(-2)  # (1, 960, 1024): side by side

# %% [markdown]
# Two things are added there: what comes out of the memory, and what skips it. **Guess:** nothing is learned yet. Which of the
# two is larger? And is that so during the whole minute? (A seizure begins after 27 seconds.)

# %% mystnb={"image": {"alt": "The size of what is remembered as a share of what is skipped, over a minute, on a logarithmic axis, with a dashed line at 1, where both are equal. For the first 27 seconds it trembles around two hundredths. In a shaded stretch of six seconds, a seizure, it climbs above 1. After it, it falls within a few seconds to a twentieth and then slowly to where it was, which takes more than ten seconds."}} tags=["hide-input"]
with torch.inference_mode():
    both = [part.flatten(2).norm(dim=-1)[0] for part in (remembered, skipped)]
    share = (both[0] / both[1]).cpu()  # (960,)
onset, end = (second - 1390 for second in seizures(raw)[1])
with style():
    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    axes.plot(torch.arange(960) / 16, share, color=COLORS["accent"], lw=1)
    axes.axhline(1, color=COLORS["ink"], linestyle="--", linewidth=1)
    axes.axvspan(onset, end, color=COLORS["marked"], alpha=0.2, linewidth=0)
    axes.set(yscale="log", xlabel="time (s)", ylabel="remembered / skipped")
    axes.set_title("In the seizure the memory becomes louder than the skip")
plt.show()
first, last = round(16 * onset), round(16 * end)
print(f"before: {share[: first - 16].median():.3f}, most: {share.max():.1f}")
print(f"10 to 15 s after it: {share[last + 160 : last + 240].median():.3f}")
record(before_percent=100 * share[: first - 16].median(), most=share.max())
record(after_percent=100 * share[last + 160 : last + 240].median())

# %% [markdown]
# In quiet EEG the memory adds <span data-result="before_percent:.0f">2</span> % to what skips it, in the seizure up to
# <span data-result="most:.1f">5.8</span> times as much as the skip. The seizure is several times as large as what came
# before, and `x`, `B` and `C` are all made of the input: what is remembered is a product of three. Ten seconds after it the share
# is <span data-result="after_percent:.0f">4</span> %: in part memory of the seizure, in part perhaps what the EEG does then.
#
# Keep the small number in mind, too. In chapter 08 you will meet a fault that makes it far smaller.

# %% [markdown]
# **Gate, norm, out.** `z` has waited all the time. It multiplies; then each step is divided by its root mean square, so that
# all steps have one size; then one linear map back to 512.

# %%
with torch.inference_mode():
    gated = heads * F.silu(z)  # (1, 960, 1024)
    size = (gated.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    normed = gated / size * block.norm.weight  # (1, 960, 1024)
    y = F.linear(normed, block.out_proj.weight)  # (1, 960, 512)

# %% [markdown]
# **Guess:** is this the block, to the last digit?

# %%
with torch.inference_mode():
    expected = block(u)
off = (y - expected).abs().max() / expected.abs().max()
print(f"largest difference: {off:.0e} of the largest value")
torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
record(walk_off=off.item())

# %% [markdown]
# The same up to rounding (<span data-result="walk_off:.0e">4e-07</span>): float32 has about seven digits, and sums of
# a thousand terms, in another order, cost one of them. You have just written Mamba-2.

# %% [markdown]
# ### How long does a head remember?
# <a id="time-constants"></a>
#
# Within one step the state of a head fades by $e^{\Delta A}$. So its time constant, in steps, is $1 / (\Delta |A|)$, and in
# seconds a sixteenth of that. At the start of training $|A|$ is drawn between 1 and 16, and `dt_bias` so that $\Delta$
# lies between 0.001 and 0.1, evenly on a logarithmic scale. <!-- given: the block's initialization -->
#
# **Guess:** at 16 steps a second, what are the shortest and the longest memory that such a draw can give?

# %%
RATE = 16  # steps a second
shortest = 1 / (0.1 * 16 * RATE)
longest = 1 / (0.001 * 1 * RATE)
print(f"from {shortest:.2f} s to {longest:.1f} s")

# %% [markdown]
# From less than one step to a whole window. And as $\Delta$ depends on the input, a head has no single time constant: each
# step has its own. Here are the 16 heads of our block, on this minute of EEG.


# %% mystnb={"image": {"alt": "Sixteen horizontal bars, one for each head, on a logarithmic axis of time constants from 0.02 to 50 seconds, sorted. A dot on each bar marks the time constant without input; the dots rise from below a tenth of a second to about twenty seconds. Each bar spans what the middle nine tenths of the steps of this minute give, most of them a factor of ten in all, so that neighboring bars overlap widely."}} tags=["hide-input"]
def seconds(step_length):
    return (1 / (step_length * -A) / RATE).cpu()


with torch.inference_mode():
    resting = seconds(F.softplus(block.dt_bias))  # (16,)
    order = resting.argsort()
    low, high = seconds(dt[0]).quantile(torch.tensor([0.05, 0.95]), dim=0)
with style():
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for row, head in enumerate(order):
        axes.plot(
            [low[head], high[head]], [row, row], color=COLORS["line"], lw=6
        )
    axes.plot(resting[order], range(16), "o", color=COLORS["accent"])
    axes.set(xscale="log", xlabel="time constant (s)", ylabel="head, sorted")
    axes.set_title("Dot: no input. Bar: nine tenths of the steps of a minute")
plt.show()
spread = (high / low).median()
print(f"from {resting.min():.2f} s to {resting.max():.1f} s without input")
record(shortest_s=resting.min(), longest_s=resting.max(), spread=spread)

# %% [markdown]
# The dots are what was drawn, from <span data-result="shortest_s:.2f">0.06</span> s to
# <span data-result="longest_s:.1f">19.7</span> s. The bars are what the input makes of it, with nothing learned yet: from one end
# of its bar to the other, a typical head moves by a factor of <span data-result="spread:.0f">11</span>. Training decides what
# for.
#
# All of this hangs on the start. Some frameworks draw the weights of every convolution and every linear map anew after a
# model was built, and the reference of this detector did. The dots stay where they are, but hardly anything reaches the
# state any more. Chapter 08 measures it.

# %% [markdown]
# ## The convolution
#
# Why a convolution, in front of a scan that can remember everything? Because a scan writes one step at a time. Four taps
# let it see a slope before it decides what to write, and where. (How *long* the step lasts, `dt`, goes past the convolution. It is cheap: 5,280 parameters, of which 1,056 are biases.)
#
# The field notes of the detector give its window: `d_conv = 5  # ~19.5ms temporal window at 256Hz`, and `15.6ms` for 4 taps.
#
# **Guess:** the EEG has 256 samples a second, so the division is right. What is wrong?

# %%
for taps in (4, 5):
    note, here = 1000 * taps / 256, 1000 * taps / RATE
    print(f"{taps} taps: {note:.1f} ms at 256 Hz, {here:.1f} ms at 16 Hz")

# %% [markdown]
# <a id="lab-span"></a>
# The block does not run at 256 Hz. The encoder has halved the rate four times before. What was called 20 milliseconds, a
# single spike, is a third of a second: nearly a whole wave of a 3 Hz seizure.
#
# Turn the width. The upper row is the block's clock, the lower row the one that the note reckoned with. Each bar is one step and as
# long as it lasts.


# %% tags=["hide-input"]
def draw(width):
    with style():
        figure, axes = plt.subplots(figsize=(8, 2.4), layout="constrained")
        for row, rate in ((1, 16), (0, 256)):
            lasts = 1000 / rate  # ms, of one step
            count = rate // 2
            bars = [(-lasts * (i + 1), 0.75 * lasts) for i in range(count)]
            for part, color in (
                (bars[width:], "line"),
                (bars[:width], "accent"),
            ):
                axes.broken_barh(
                    part, (row - 0.15, 0.3), color=COLORS[color], linewidth=0
                )
            span = f"{1000 * width / rate:.1f} ms"
            axes.text(10, row, span, va="center", fontsize=10)
        axes.set(ylim=(-0.6, 1.6), xlim=(-500, 90))
        axes.set_yticks([0, 1], ["256 a second", "16 a second"])
        axes.set_xlabel("input steps, ms before the end of the newest one")
        axes.set_title(
            f"What one output of a convolution of width {width} sees"
        )
    return figure


def describe(width):
    return (
        f"Two rows of bars, the input steps of the last half second, at 16 and "
        f"at 256 steps a second. The {width} newest in each row are dark: they "
        f"span {1000 * width / 16:.1f} ms in the upper row and "
        f"{1000 * width / 256:.1f} ms in the lower one."
    )


# %%
explore(draw, alt=describe, width=("width, d_conv", [2, 3, 4, 5, 7]))

# %% [markdown]
# ### Any width, or three of them
#
# As a sum over taps the convolution is a single line of code. Here is the block's own, at widths that are asked for in the notes
# and in papers, against that sum:


# %%
def by_hand(x, weight, bias):  # (batch, length, channels)
    width = weight.shape[-1]
    padded = F.pad(x, (0, 0, width - 1, 0))
    taps = padded.unfold(1, width, 1)  # (batch, length, channels, width)
    return (taps * weight[:, 0]).sum(-1) + bias


# %%
from helpers.models.causal_conv import causal_conv

signal = torch.randn(2, 101, 24)
for width in (2, 4, 5, 7):
    conv = Mamba2(8, d_state=4, headdim=8, d_conv=width).conv1d
    with torch.inference_mode():
        found = causal_conv(signal, conv.weight, conv.bias)
        expected = by_hand(signal, conv.weight, conv.bias)
    torch.testing.assert_close(found, expected)
    print(f"width {width}: exact, {tuple(conv.weight.shape)}")

# %% [markdown]
# In PyTorch any width goes. The CUDA kernels of `causal_conv1d` exist for widths 2, 3 and 4 and for no other;
# their author calls wider ones "[just more annoying to implement](https://github.com/Dao-AILab/causal-conv1d/issues/8)".
# So a block of width 5 has one backend fewer. What happens if you ask for it by name?


# %%
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def width_five():
    from causal_conv1d import causal_conv1d_fn

    wide = Mamba2(512, d_state=16, d_conv=5, backend="mamba_ssm").cuda()
    with expect_error(RuntimeError, match="d_conv is 5, expected 2 to 4"):
        wide(u)
    with expect_error(RuntimeError, match="width between 2 and 4"):
        causal_conv1d_fn(u.mT.contiguous(), torch.randn(512, 5).cuda())


# %% [markdown]
# An error that says which widths there are, from us and from the kernel. Never a 4 in place of your 5. The
# notes' program did that: `actual_d_conv = 4 if using_cuda else 5`.
#
# ### Two machines, two networks
# <a id="lab-two-checkpoints"></a>
#
# **Guess:** somebody trains on a GPU with that line, and opens the weights on a laptop. What does the laptop say?


# %%
def as_in_the_note(using_cuda):
    actual_d_conv = 4 if using_cuda else 5
    return Mamba2(512, d_state=16, d_conv=actual_d_conv)


trained = as_in_the_note(using_cuda=True).state_dict()
with expect_error(RuntimeError, match="size mismatch for conv1d.weight"):
    as_in_the_note(using_cuda=False).load_state_dict(trained)

# %% [markdown]
# The two programs had one configuration file and were two networks. Here it shows, because shapes differ. In a
# training log it does not: nothing says that every result belongs to a width that nobody asked for. So, width 4 or 5, is the
# difference "negligible"? Nobody trained both. What one can say is that a width has to be one number, in the
# configuration, in the model and in the kernel.

# %% [markdown]
# ## Gate and norm
#
# `z` comes straight from the input, past convolution and scan. SiLU makes a gate of it: near 0 where a channel of `z` is
# very negative, near `z` itself where it is large. A step can thereby silence
# channels of what it has just read.
#
# **Guess:** halve the gate of every channel at once. What happens to the output of the block? And what if the
# norm stood before the gate?

# %%
reads = torch.randn(1, 960, 1024)  # what the scan has read
gate = F.silu(torch.randn(1, 960, 1024))


def norm(y, eps=1e-5):
    return y / (y.square().mean(dim=-1, keepdim=True) + eps).sqrt()


after = norm(reads * gate / 2) / norm(reads * gate)
before = norm(reads) * gate / 2 / (norm(reads) * gate)
print(f"norm after the gate:  {after.mean():.3f} of what it was")
print(f"norm before the gate: {before.mean():.3f} of what it was")

# %% [markdown]
# Nothing happens. In Mamba-2 the norm comes *after* the gate, and divides by whatever the gate left: a gate decides the
# proportions between channels, not how loud a step is. (`mamba_ssm` calls it `norm_before_gate=False`, and its functions have
# `True` as their default: one more thing that no shape would catch.)
#
# With one limit: `eps`, $10^{-5}$, which keeps the norm from dividing by zero. Where the mean square falls to its size,
# a step does become quieter. At the start of training our block is far from it:

# %%
power = gated.square().mean(dim=-1).median()
print(f"mean square at a typical step: {power:.0e}, eps 1e-05")
record(norm_power=power)

# %% [markdown]
# About <span data-result="norm_power:.0e">6e-03</span>. Weights drawn anew by the wrong rule bring it down to the size of `eps`;
# chapter 08 shows how.

# %% [markdown]
# ## One answer from every backend
# <a id="backends"></a>
#
# What computes a block is its *backend*. There are two. `torch` is what you have just walked through: it runs everywhere,
# in any precision. `mamba_ssm` hands the whole middle of the block to that package's fused kernel: faster on a GPU, and
# particular. `auto`, the default, takes the kernel wherever it can compute this input, width and all, and torch
# elsewhere. It never goes from one to the other without your being able to ask:

# %%
auto = Mamba2(512, d_state=16).to(device)
print("this machine, float32:", auto.backend_for(u))
print("this machine, float64:", auto.backend_for(u.double()))

# %% [markdown]
# A backend that you ask for *by name* is that backend or an error. **Guess:** of all that the kernel needs, what is
# missing in the next cell? (It depends on your machine.)

# %%
named = Mamba2(512, d_state=16, backend="mamba_ssm").to(device).double()
with expect_error(RuntimeError, match="backend 'mamba_ssm'"):
    named(u.double())

# %% [markdown]
# What was found, what is needed, what to do. (On a CPU it is the device; on a GPU, float64, which the kernel does not have.)
# If the package is missing or broken, the error says that and sends you to `workbook plan` or `workbook doctor`.
#
# ### How far apart are they?
#
# Not "does it run" but "is it the same function": outputs and *all* gradients, against float64 from the same weights.
# `measure_parity` does that, in both directions of time. On your machine now, with the torch backend:

# %% nbmake={"mock": {"LENGTHS": [33]}}
LENGTHS = [1, 63, 257]

# %%
from helpers.benchmarks.parity import measure_parity, parity_table

rows = measure_parity([16], LENGTHS, batch=1, device="cpu")
print(parity_table(rows))

# %% [markdown]
# An error of some $10^{-6}$ is float32, one of some $10^{-2}$ is bfloat16; both are what their number of digits allows. **Guess:** the
# kernel, in float32, on a GPU. Where between the two will it land?


# %%
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def backends_agree():
    rows = measure_parity([16, 64, 128], [1, 63, 960, 961, 4099])
    print(parity_table(rows))  # float32 and bfloat16
    exact = [row for row in rows if row.dtype == "float32"]
    for name in ("torch", "mamba_ssm"):
        of_name = [row for row in exact if row.backend == name]
        record(**{f"{name}_output": max(row.output for row in of_name)})
        record(**{f"{name}_gradient": max(row.gradient for row in of_name)})


# %% [markdown]
# In float32 the kernel's outputs are off by up to <span data-result="mamba_ssm_output:.0e">3e-04</span> and its gradients by
# up to <span data-result="mamba_ssm_gradient:.0e">3e-03</span>, where torch's are off by
# <span data-result="torch_output:.0e">2e-06</span> and <span data-result="torch_gradient:.0e">4e-06</span>. That is not a
# mistake in the kernel: its products take *TF32*, with 10 bits of fraction. In bfloat16, which has 7, the two
# backends are alike, for every state size. (The worst gradient there is that of `dt_bias` for a sequence of one step, where its
# terms nearly cancel: for both.) So it is one function, and two roundings of it. Want all the digits of float32? Ask for
# `backend="torch"` by name.
#
# ### A file of weights fits both
#
# Same names, same shapes, and even the same numbers from the same seed, because random numbers are drawn in the same
# order. `strict=True` means that nothing may be missing and nothing left over. (`Mamba` is the block of Mamba-1, which chapter 01
# runs.) Each block is compared with the package's own twice. With `backend="mamba_ssm"` both outputs come from one kernel, called with
# our arguments and with theirs: what is compared is names, layout and call. With `backend="torch"` our own lines compute from the
# same weights. **Guess:** how far off may each be, after what you saw above?


# %%
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def weights_move_both_ways():
    import mamba_ssm

    pairs = [(Mamba, mamba_ssm.Mamba), (Mamba2, mamba_ssm.Mamba2)]
    for ours, theirs in pairs:
        for backend in ("mamba_ssm", "torch"):
            torch.manual_seed(SEED)
            a = ours(512, d_state=16, backend=backend).cuda()
            torch.manual_seed(SEED)
            b = theirs(512, d_state=16).cuda()
            drawn = b.state_dict().items()
            same = all(torch.equal(a.state_dict()[n], v) for n, v in drawn)
            a.load_state_dict(b.state_dict(), strict=True)
            b.load_state_dict(a.state_dict(), strict=True)
            with torch.no_grad():
                off = (a(u) - b(u)).abs().max() / b(u).abs().max()
            name = f"{ours.__name__} in {backend}"
            print(f"{name:19s} same start: {same}, output off by {off:.0e}")
            assert off <= 1e-2, "farther apart than TF32 explains"


# %% [markdown]
# One kernel gives one answer, whoever calls it. From our own lines Mamba-2 is as far off as the kernel's rounding was above. A file
# of weights does not know which backend will read it.
#
# ### What the kernel buys
#
# Sixty-four windows, forward and backward, under bfloat16 autocast, as in training. (Ours there is plain PyTorch; chapter
# 14 is about making it fast.)

# %%
import statistics
import time


def milliseconds(step, repeats=10):
    for _ in range(3):  # the first calls compile and tune
        step()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


# %%
@needs("a GPU", "mamba_ssm", "causal_conv1d")
def what_the_kernel_buys():
    batch = torch.randn(64, 960, 512, device="cuda", requires_grad=True)
    for name in ("torch", "mamba_ssm"):
        timed = Mamba2(512, d_state=16, backend=name).cuda()

        def step(timed=timed):
            with torch.autocast("cuda", dtype=torch.bfloat16):
                timed(batch).sum().backward()

        ms = milliseconds(step)
        torch.cuda.reset_peak_memory_stats()
        step()
        gib = torch.cuda.max_memory_allocated() / 2**30
        print(f"{name:10s} {ms:6.2f} ms, {gib:.2f} GiB at the peak")
        record(**{f"{name}_ms": ms, f"{name}_gib": gib})
    record(machine=torch.cuda.get_device_name())


# %% [markdown]
# On the machine that stored this page (<span data-result="machine">NVIDIA H100 80GB HBM3</span>):
# <span data-result="torch_ms:.1f">24.3</span> ms and <span data-result="torch_gib:.1f">3.4</span> GiB in torch,
# <span data-result="mamba_ssm_ms:.1f">8.6</span> ms and <span data-result="mamba_ssm_gib:.1f">2.0</span> GiB with the kernel.
# So take it where it is to be had; and know that where it is not, you lose time, and gain digits.

# %% [markdown]
# ## Step by step
# <a id="step"></a>
#
# A scan has a state, so a block can stop and go on. What does it have to remember? Two things: the state of the scan, and
# the last three inputs of the convolution.

# %%
state = block.initial_state(batch=1)
for name, tensor in state._asdict().items():
    kib = tensor.nbytes / 1024
    print(f"{name:5s} {tuple(tensor.shape)!s:16s} {kib:6.1f} KiB")
record(state_kib=sum(tensor.nbytes for tensor in state) / 1024)

# %% [markdown]
# <span data-result="state_kib:.0f">76</span> KiB, after a second or after a day. Attention would have to keep every step that
# it may ever want to look at.
#
# `block.step` takes one step of the input and the state, and returns one step of the output and the new state. **Guess:**
# if you give it a minute of EEG, one sixteenth of a second at a time, how far is it from the block that reads the whole
# minute at once?

# %% nbmake={"mock": {"STEPS": 96}}
STEPS = 960

# %%
exact = Mamba2(512, d_state=16, backend="torch").to(device).double()
minute = u[:, :STEPS].double()
state, outputs = exact.initial_state(batch=1), []
with torch.inference_mode():
    for u_t in minute.unbind(dim=1):  # (1, 512)
        y_t, state = exact.step(u_t, state)
        outputs.append(y_t)
    whole = exact(minute)  # (1, 960, 512)
off = (torch.stack(outputs, dim=1) - whole).abs().max() / whole.abs().max()
print(f"{len(outputs)} steps, differs by {off:.0e}")
record(step_off=off)

# %% [markdown]
# Float64 has 16 digits, and all that is left is their rounding. The recurrence and the chunked products of chapter 05 are one
# function; you may leave one for the other at any step.
#
# ### Half an hour in pieces
#
# The network of chapter 00 reads windows of a minute, and each window starts with an empty state. What is lost? Read the
# whole recording at once; then in minutes that hand on their state; then in minutes that do not.

# %% nbmake={"mock": {"MINUTES": 3}}
MINUTES = 30

# %%
recording = eeg[:, : 960 * MINUTES]
state, handed_on = None, []
with torch.inference_mode():
    at_once = block(recording)
    for piece in recording.split(960, dim=1):
        read, state = block(piece, state, return_state=True)
        handed_on.append(read)
    alone = [block(piece) for piece in recording.split(960, dim=1)]


# %%
def off_by_step(pieces):  # (960,): the mean over all minutes but the first
    gap = (torch.cat(pieces, dim=1) - at_once).norm(dim=-1)[0]
    gap = gap / at_once.norm(dim=-1)[0]
    return gap.unflatten(0, (MINUTES, 960))[1:].mean(dim=0).cpu()


lost = off_by_step(alone)
since_cut = torch.arange(1, 961) / RATE  # s: each step counts at its end
print(f"state handed on: off by {off_by_step(handed_on).max():.0e}")
for step in (0, 3, 159, 959):
    after = f"{since_cut[step]:7.4f} s after the cut"
    print(f"state dropped, {after}: off by {lost[step]:.4f}")
record(lost_first=100 * lost[0], lost_fourth=100 * lost[3])
record(lost_10s=100 * lost[159], lost_60s=100 * lost[-1])

# %% mystnb={"image": {"alt": "A line over the 60 seconds of a window, both axes logarithmic: how far the output of a window that starts with an empty state is from that of the whole recording, as a share of its size. For the first three steps it is off by a third to a half. At the fourth step, a quarter of a second after the cut, it falls at once to two hundredths, stays near that for some five seconds, and then falls slowly to less than a thousandth at the end of the window."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    axes.plot(since_cut, lost, color=COLORS["accent"])
    axes.set(xscale="log", yscale="log", xlabel="time since the cut (s)")
    axes.set_ylabel("off by, as a share")
    axes.set_title("What a window does not know of what came before it")
plt.show()

# %% [markdown]
# With the state handed on, the pieces are the whole. Without it, two things are missing. The convolution lacks its past for
# three steps: the first output is off by <span data-result="lost_first:.0f">51</span> %. From the fourth step on only the
# scan's state is missing, and the output is off by <span data-result="lost_fourth:.1f">1.9</span> %, after 10 seconds by
# <span data-result="lost_10s:.1f">0.9</span> %, at the end of the minute by <span data-result="lost_60s:.2f">0.06</span> %: each
# head forgets the cut as it forgets everything, with its own time constant. (One untrained block, in which little comes from the state at most steps. This says
# how the loss is spread over a window, and nothing about detection.)
#
# The kernel cannot do this: its fused function starts the convolution from zeros. So pieces with a state are computed in
# torch, and `backend="mamba_ssm"` with a state is an error.
#
# A detector that reads in *both* directions cannot hand on a state either: the other half of it would have to come from the
# future. Chapter 07 goes there.

# %% [markdown]
# ## What weight decay does to a memory
# <a id="weight-decay"></a>
#
# Weight decay pulls each parameter toward zero, a little at each step of training. For the weight of a linear map zero means
# "no influence", a fair default. For three of the block's parameters it means something else:
#
# | parameter | at zero | so decay pulls |
# |---|---|---|
# | `A_log` | $A = -1$ | the fast heads toward slow rates |
# | `dt_bias` | $\Delta = \log 2 \approx 0.7$ | all heads toward long steps, and quick forgetting |
# | `D` | no skip | the skip out of the block |
#
# That is why all three carry a mark, `_no_weight_decay`, in `mamba_ssm` and here. The reference of our detector does not
# read it: weight decay 0.05 on *all* parameters, a rate of $3 \cdot 10^{-4}$ that warms up over 3 percent of the steps and
# then follows a cosine to zero, 100 epochs of 389 batches.
#
# **Guess:** a hundred epochs of that, with no gradient at all. How much of a parameter is left?

# %%
import math

STEPS_IN_ALL = 100 * 389  # 49,760 windows in batches of 128
WARM_UP = round(0.03 * STEPS_IN_ALL)


def learning_rate(step):
    if step < WARM_UP:
        return 3e-4 * (step + 1) / WARM_UP
    done = (step - WARM_UP) / (STEPS_IN_ALL - WARM_UP)
    return 3e-4 * (1 + math.cos(math.pi * done)) / 2


left = math.prod(1 - 0.05 * learning_rate(s) for s in range(STEPS_IN_ALL))
print(f"{100 * left:.1f} % of each parameter is left")
record(left_percent=100 * left)

# %% [markdown]
# AdamW multiplies each parameter by $1 - \text{rate} \cdot \text{decay}$, whatever its gradient. Is that really what the
# optimizer does? The first 200 steps, with the optimizer itself, once on everything and once with the marks respected:

# %%
from helpers.models import parameter_groups


def after_200_steps(decay_all):
    pulled = Mamba2(64, d_state=16)
    start = pulled.dt_bias.detach().clone()
    groups = parameter_groups(pulled, weight_decay=0.05, decay_all=decay_all)
    optimizer = torch.optim.AdamW(groups, lr=3e-4)
    for parameter in pulled.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
    return (pulled.dt_bias / start).mean().item()


rule = math.prod(1 - 0.05 * learning_rate(s) for s in range(200))
print(f"AdamW, decay on all: {after_200_steps(True):.6f}, the rule {rule:.6f}")
print(f"AdamW, marks respected: {after_200_steps(False):.6f}")

# %% [markdown]
# So a quarter of `A_log` and of `dt_bias` goes. For a slow head `dt_bias` is far below zero, where softplus is nearly an
# exponential: a step of 0.001 is a `dt_bias` of −6.9, three quarters of that are −5.2, and that is a step of 0.006. <!-- given: softplus of these --> (`A_log` is in an
# exponent, too, and shrinking it pulls the other way, by less.) **Guess:** what does a quarter less make of
# a memory of 20 seconds?


# %% mystnb={"image": {"alt": "Sixteen heads in a row, sorted, with a logarithmic axis of time constants in seconds. For each a hollow circle, at the start, and a filled dot, after the pull of a hundred epochs of weight decay, joined by a line. The long memories fall most: from tens of seconds to a few seconds. The short ones hardly move."}} tags=["hide-input"]
def at_rest(A_log, dt_bias):
    return (1 / (F.softplus(dt_bias) * torch.exp(A_log)) / RATE).cpu()


with torch.inference_mode():
    now = at_rest(block.A_log, block.dt_bias)[order]
    then = at_rest(left * block.A_log, left * block.dt_bias)[order]
with style():
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for head in range(16):
        axes.plot([head, head], [now[head], then[head]], color=COLORS["line"])
    axes.plot(
        now, "o", color=COLORS["accent"], mfc="white", label="at the start"
    )
    axes.plot(then, "o", color=COLORS["marked"], label="after the pull")
    axes.set(yscale="log", xlabel="head, sorted", ylabel="time constant (s)")
    axes.set_title("Decay on A_log and dt_bias takes the long memories first")
    axes.legend()
plt.show()
print(f"longest memory: {now.max():.1f} s, then {then.max():.1f} s")
record(now_longest=now.max(), then_longest=then.max())

# %% [markdown]
# From <span data-result="now_longest:.1f">19.7</span> s to <span data-result="then_longest:.1f">4.6</span> s. The shortest memories
# hardly move, the longest go: in a layer whose reason to be there is the whole minute. This is the pull alone. A
# gradient can hold against it, and whether it does depends on the task; but it has to work against the optimizer
# at every step. `parameter_groups` of this workbook respects the marks, and `decay_all=True` is there for
# comparison.

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | `headdim 64 does not divide d_inner` | heads have to fill the inner width: `expand * d_model` | choose a `headdim` that divides it |
# | `size mismatch for conv1d.weight` | the weights are those of another `d_conv` | build the block with the width that was trained |
# | `backend 'mamba_ssm': … expected cuda` | a backend by name is that backend or an error | `backend="auto"`, or move block and input to a GPU |
# | `mamba_ssm is installed but unusable` | a broken build; `auto` warns once and computes in torch | `workbook doctor` |
# | `RuntimeError: … strides … multiples of 8` from `causal_conv1d` | `mamba_ssm` before 2.3 cannot read an `in_proj` whose width is no multiple of 8 | a newer release, or heads in eights |
# | `state.conv has shape …` | the state belongs to another batch, or another block | one state for each block and each sequence |
# | memory grows from piece to piece in training | gradients flow through the state into all earlier pieces | `state = Mamba2State(*(t.detach() for t in state))` |
# | the first call on a GPU takes a minute | Triton compiles and tunes the kernels for these sizes | wait once; measure from the second call on |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **06.1** Write `count_parameters(d_model, d_state, d_conv, expand, headdim, ngroups)`: the parameters of a block, from
# its sizes alone. You can compare with the 1,603,792 of `(512, 16, 4, 2, 64, 1)`.

# %%
from helpers.teaching import check, solution


def count_parameters(d_model, d_state, d_conv, expand, headdim, ngroups): ...


check("06.1", count_parameters)

# %% tags=["remove-input"]
solution("06.1")

# %% [markdown]
# **06.2** Write `span_ms(widths, rate)`: causal convolutions with these widths, one after the other, at `rate` steps a second.
# How many milliseconds of its input does one output step depend on? Count as above: a width of 4 at 16 Hz spans 250.


# %%
def span_ms(widths, rate): ...


check("06.2", span_ms)

# %% tags=["remove-input"]
solution("06.2")

# %% [markdown]
# **06.3** Write `conv_step(x_t, state, weight, bias)`, one step of the block's convolution, without the SiLU. `x_t` is
# `(batch, channels)`, `state` holds the last inputs, `(batch, channels, d_conv - 1)`, the newest last; `weight` is `(channels,
# d_conv)`, its last tap for the newest input. Return the output, `(batch, channels)`, and the new state. Leave `state`
# itself as it is: somebody may want to go back to it.


# %%
def conv_step(x_t, state, weight, bias): ...


check("06.3", conv_step)

# %% tags=["remove-input"]
solution("06.3")

# %% [markdown]
# **06.4** Write `dt_bias_for(tau, A_log, rate)`, the other way round than the figures above: which `dt_bias` gives a head with
# this `A_log` a time constant of `tau` seconds without input, at `rate` steps a second? `tau` and `A_log` are numbers, or
# tensors with one number, and so is the answer: `math` and `torch` both do. Then give a head with an `A_log` of 0 a memory of a
# minute. How much of it do a hundred epochs of weight decay leave? `at_rest(torch.tensor(0.0), torch.tensor(left * yours))` tells.


# %%
def dt_bias_for(tau, A_log, rate): ...


check("06.4", dt_bias_for)

# %% tags=["remove-input"]
solution("06.4")

# %% [markdown]
# **In a terminal**, run `workbook count`. It shows six layers, each with two blocks and the map and norm that join them. How many of
# the detector's parameters are in its twelve blocks (multiply what you counted above), and how many of these are rates, step
# lengths and skips?
#
# ## Recap
#
# What you may say now:
#
# - A block is a linear map, a short convolution, a scan, a gate, a norm and a linear map. Nearly all of its parameters sit in the two
#   maps, and 48 in the scan; what the scan does at each step is computed from the input.
# - At 16 steps a second a convolution of width 4 spans a quarter of a second. Its width is 2, 3 or 4 for the kernel, anything for torch, and
#   one number for both, or weights do not move.
# - The norm comes after the gate, so the gate sets proportions, not loudness.
# - A backend asked for by name is that backend or an error; both compute one function, to within the digits of
#   their format: the kernel's float32 is TF32.
# - The state is of one size for ever. With it, pieces equal the whole; without it, each window starts without a past.
# - `A_log`, `dt_bias` and `D` are not weights to be shrunk. Decay takes the longest memories first.
#
# ## What next
#
# A block knows only the past. Chapter 07 lets two of them read, one in each direction, joins them in three ways, and asks
# whether a plain convolution would have done. Chapter 08 builds the detector from them. In the
# [API reference](../book/api.md): `Mamba2`, `Mamba2State`, `Mamba`.
