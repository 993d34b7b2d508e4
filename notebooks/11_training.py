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
# # Training
#
# A training is twenty lines of Python. What surrounds them decides whether you can believe the result, and whether you still
# have it after the machine was switched off at night. In this chapter you write the twenty lines, look at what each of them
# does, and then pull the plug on the real trainer, more than once.
#
# **You will**
#
# - choose a loss, and see what focus and weight do to the probabilities that come out;
# - overfit four windows first, which finds most mistakes in a minute, and learn which one it never finds;
# - draw the schedule, and see why the first step of Adam is a special one;
# - kill a training with SIGKILL, go on, and get the same losses to the last bit;
# - break a checkpoint in the middle of its writing, and have a checkpoint run code on your machine;
# - train in sixteen bits, and know which numbers must not be.
#
# **You need** [chapter 10](10_windows.ipynb), or trust in its result: windows of 60 seconds with a label for each sample.
# And a training loop in PyTorch should be nothing new. A GPU is used if there is one.
#
# Words that are new to you stand in the [glossary](../book/glossary.md). Numbers with a dotted line were measured by this
# notebook.

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

from helpers.detection import best_device
from helpers.environment import Lab, expect_error
from helpers.teaching import COLORS, explore, record, style

device = best_device()
lab = Lab()  # a throwaway folder; it goes with this kernel
print(device)

# %% [markdown]
# Sizes depend on the device: what a GPU does in seconds takes a CPU minutes.

# %% nbmake={"mock": {"MINUTES": 4, "OVERFIT": 2, "STEPS": 3, "SUBJECTS": 5}}
SEED = 11
gpu = device == "cuda"
SUBJECTS, MINUTES = (24, 10) if gpu else (10, 6)
OVERFIT = 100 if gpu else 40  # steps on four windows
STEPS, BATCH = (300, 16) if gpu else (40, 8)

# %% [markdown]
# ## Patients who do not exist
#
# As in chapter 10, all EEG here is **synthetic**: drawn from a seed, with seizures that grow and spread, and with rhythms that
# look like seizures and are none. It shows how training works. A score on it says nothing about patients.

# %%
from helpers.eeg import open_store, prepare
from helpers.eeg.synthetic import write_recordings

write_recordings(lab / "recordings", SUBJECTS, MINUTES, SEED)
prepare(lab / "recordings", lab / "store")
store = open_store(lab / "store")
hours = sum(one.duration for one in store.recordings) / 3600
print(f"{len(store.subjects)} subjects, {hours:.1f} h")

# %% [markdown]
# Three groups of subjects, and of the first a balanced set of windows, as in [chapter 10](10_windows.ipynb): all partial windows, and 2.5 times
# as many without a seizure. (Full windows, inside a seizure from end to end, do not come from seizures this short.)

# %%
from helpers.eeg import build_manifest, split_subjects

fractions = {"train": 0.7, "validation": 0.15, "test": 0.15}
splits = split_subjects(store, fractions, SEED)
print({name: len(subjects) for name, subjects in splits.items()})

# %%
windows = build_manifest(store).of(splits["train"]).balanced(SEED)
print(windows)

# %% [markdown]
# A window is a name and a start. This function makes tensors of some of them:

# %%
from helpers.eeg import labels_of


def read(chosen):
    eeg = torch.from_numpy(store.batch(chosen))  # (batch, 19, 15360)
    labels = [labels_of(store[id].seizures, start) for id, start in chosen]
    labels = torch.from_numpy(np.stack(labels))  # (batch, 15360)
    return eeg.to(device), labels.to(device)


eeg, labels = read(windows[:4])
print(tuple(eeg.shape), tuple(labels.shape))

# %% [markdown]
# And this one makes the network: the detector of chapter 08 with narrow layers, the one of the trainer's `smoke`
# configuration.

# %%
from helpers.models import SeizureDetector


def new_model(**options):
    torch.manual_seed(SEED)
    widths = (8, 16, 32, 32)
    return SeizureDetector(
        widths=widths, rescnn_blocks=1, mamba_layers=1, **options
    ).to(device)


count = sum(parameter.numel() for parameter in new_model().parameters())
print(f"{count:,} parameters")

# %% [markdown]
# ## A loss for each sample
#
# | symbol | meaning |
# |---|---|
# | $z$ | logit: what the network says of one sample, any number |
# | $p$ | the probability that it gives to the *right* answer: $\sigma(z)$ where the label is 1, $1 - \sigma(z)$ where it is 0 |
# | $w$ | weight of samples in a seizure (`pos_weight`); the others weigh 1 |
# | $\gamma$ | focus: how much less a sample counts that is right already |
#
# The loss is the mean over all samples of
#
# $$(1 - p)^{\gamma} \; w \; (-\log p).$$
#
# With $\gamma = 0$ it is binary cross-entropy, and with $\gamma$ above 0 the *focal loss*, made for finding small objects in
# pictures {cite:p}`lin2017focal`. **Guess** what an untrained network, whose $p$ is about one half everywhere, gets from either.

# %%
from helpers.training import detection_loss

with torch.no_grad():
    logits = new_model()(eeg)  # (batch, 15360)
for gamma in (0.0, 2.0):
    print(f"gamma {gamma:g}: {detection_loss(logits, labels, gamma):.3f}")
print(f"log 2 = {np.log(2):.3f}, a quarter of it {np.log(2) / 4:.3f}")
print(f"mean answer {logits.sigmoid().mean():.2f}, truth {labels.mean():.2f}")

# %% [markdown]
# They would be $\log 2$ and $\log 2 \cdot (1/2)^2$ if every answer were one half. By accident this network leans toward *yes*, and
# most samples here are *no*; so both are higher, by less than double. Keep the two in mind. A first loss of 5 means
# that something is wrong before the training has begun; and losses with different $\gamma$ cannot be compared.
#
# ## What focus costs
#
# In a recording most samples are easy. The focal loss turns them down, so that they do not drown the hard ones. It is not
# free, though. Take a network that can only give *one* answer $q$ to all samples, of which a share $r$ is ictal. The best it can
# say is $q = r$, the truth. **Guess:** which $q$ has the lowest focal loss? Turn both controls, and watch the mark on the right.


# %%
def answers(gamma, weight, share=0.15):
    q = np.linspace(0.002, 0.998, 499)
    loss = -share * weight * (1 - q) ** gamma * np.log(q)
    loss -= (1 - share) * q**gamma * np.log(1 - q)
    return q, loss, q[loss.argmin()]


# %% tags=["hide-input"]
def draw(gamma, weight):
    q, loss, best = answers(gamma, weight)
    with style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(8.4, 3.2), layout="constrained"
        )
        left.plot(q, -np.log(q), color=COLORS["quiet"], label="cross-entropy")
        left.plot(
            q,
            -((1 - q) ** gamma) * np.log(q),
            "--",
            color=COLORS["accent"],
            label=f"focus {gamma:g}",
        )
        left.set(ylim=(0, 3), xlabel="p of the right answer", ylabel="loss")
        left.set_title("One sample")
        left.legend()
        right.plot(q, loss, color=COLORS["accent"])
        right.axvline(0.15, color=COLORS["ink"], linestyle=":")
        right.plot(best, loss.min(), "D", color=COLORS["marked"], ms=10)
        right.set(xlabel="q; dotted: the truth", ylim=(0, 3 * loss.min()))
        right.set_title(f"All samples: lowest at {best:.2f}")
    return figure


def describe(gamma, weight):
    best = answers(gamma, weight)[2]
    return (
        f"Two curves of loss. Left, for one sample against the probability of the right answer, focus {gamma:g} beside "
        f"cross-entropy, both fall to 0 at 1. Right, over all samples, 15 percent of them ictal, with weight {weight:g}: the "
        f"loss of one constant answer is lowest at {best:.2f}, the truth being 0.15."
    )


explore(
    draw,
    alt=describe,
    gamma=("focus γ", [0.0, 0.5, 1.0, 2.0, 5.0]),
    weight=("weight w", [1.0, 1.4, 2.4]),
)

# %% [markdown]
# Only $\gamma = 0$ with $w = 1$ asks for the truth. A weight raises the odds by its own factor. Focus pulls every answer toward
# one half: a sample with $p = 0.85$ is "right already", and its loss hardly cares any more. The *order* of the answers stays,
# so that a threshold can be chosen afterwards, but a 0.5 from such a network is no probability of one half. (Chapter 12 measures
# it, as *calibration*.)

# %%
for gamma, weight in [(0.0, 1.0), (0.0, 2.4), (2.0, 1.0), (2.0, 2.4)]:
    best = answers(gamma, weight)[2]
    print(f"gamma {gamma:g}, weight {weight:g}: the best answer is {best:.2f}")
record(focal_answer=answers(2.0, 1.0)[2], both_answer=answers(2.0, 2.4)[2])

# %% [markdown]
# The truth is a share of 0.15, and with both at once the best answer is <span data-result="both_answer:.2f">0.42</span>.
#
# ## Which share?
#
# The weight is to make up for how rare seizures are. The program behind the field notes takes $w = \sqrt{(1 - r) / r}$ (half
# of the way, on a scale of logarithms, from no weight to full balance), and for $r$ the share of *windows* with a seizure in them.
# **Guess:** is the share of *samples* larger or smaller, and what does that do to the weight?

# %%
from helpers.eeg.labels import ictal_share
from helpers.training import balancing_weight

shares = [ictal_share(store[id].seizures, [at])[0] for id, at in windows]
for unit, share in {
    "windows": np.mean(windows.kind != "none"),
    "samples": np.mean(shares),
}.items():
    weight = balancing_weight(share)
    print(f"share of {unit} {share:.3f}, weight {weight:.2f}")
    record(**{f"share_{unit}": share, f"weight_{unit}": weight})

pos_weight = balancing_weight(np.mean(shares))  # from here on

# %% [markdown]
# The loss is a mean over samples, so samples are what has to be counted: <span data-result="share_samples:.2f">0.12</span> of them
# are ictal, and <span data-result="share_windows:.2f">0.29</span> of the windows have some. The weight from windows,
# <span data-result="weight_windows:.2f">1.57</span>, is not the <span data-result="weight_samples:.2f">2.67</span> that was meant. Nothing
# breaks. All probabilities come out a little lower, and nobody knows why.

# %% [markdown]
# <a id="lab-loop"></a>
#
# ## Twenty lines
#
# Here is the training. Each comment names the section that takes the line apart.


# %%
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from helpers.models import parameter_groups
from helpers.training import learning_rate_factor


def train(model, batches, steps, lr=0.01, half=False):
    groups = parameter_groups(model, weight_decay=0.01)  # what must not shrink
    optimizer = torch.optim.AdamW(groups, lr=lr)
    schedule = LambdaLR(  # the first step of Adam
        optimizer, lambda step: learning_rate_factor(step, steps, 0.1)
    )
    losses = []
    model.train()
    for step in range(steps):
        eeg, labels = batches(step)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = model(eeg)  # (batch, 15360)
        loss = detection_loss(logits, labels, 2.0, pos_weight)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)  # one bad batch
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())  # no .item(): a GPU would have to wait
    return torch.stack(losses).cpu().numpy()


# %% [markdown]
# ## Four windows first
#
# Before you train on everything, train on nearly nothing. A network with thousands of parameters can learn four windows by
# heart. If it does not, there is a mistake in the loop, in the shapes or in the loss, and you have found it in a minute
# instead of a night.

# %%
partial = [w for w, k in zip(windows, windows.kind, strict=True) if k != "none"]
few = partial[:: len(partial) // 4][:4]
eeg, labels = read(few)
print("ictal share of each:", np.round(labels.mean(dim=1).cpu().numpy(), 2))
mean_weight = 1 + labels.mean().item() * (pos_weight - 1)
print(f"expect about log 2 / 4 * {mean_weight:.2f}", end=" = ")
print(f"{np.log(2) / 4 * mean_weight:.3f} at first")

# %%
learned = train(new_model(dropout=0.0), lambda step: (eeg, labels), OVERFIT)
print(f"loss {learned[0]:.3f}, then {learned[-1]:.4f}")

# %% [markdown]
# The first loss is near what an answer of one half everywhere costs, now with weights: a quarter of $\log 2$, times the mean weight
# $1 + r(w - 1)$. (There is no dropout here: its purpose is to make learning by heart hard.)
#
# **Guess before the next cell.** Now every window gets the labels of its neighbor. They are nonsense. Does the loss fall
# all the same?

# %%
swapped = labels.roll(1, dims=0)
nonsense = train(new_model(dropout=0.0), lambda step: (eeg, swapped), OVERFIT)
print(f"loss {nonsense[0]:.3f}, then {nonsense[-1]:.4f}")
record(learned=learned[-1], nonsense=nonsense[-1], first=learned[0])

# %% mystnb={"image": {"alt": "Focal loss on a logarithmic axis against the training step, for four windows learned by heart. Two curves start together at about 0.3. Both fall by far: the one with the right labels to a hundredth or less, and more slowly the dashed one, whose labels were swapped among the windows."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    axes.semilogy(learned, color=COLORS["accent"], label="their own labels")
    axes.semilogy(
        nonsense, "--", color=COLORS["marked"], label="their neighbors' labels"
    )
    axes.set(xlabel="step", ylabel="focal loss", title="Four windows by heart")
    axes.legend()
plt.show()

# %% [markdown]
# It falls all the same, with a delay: from <span data-result="first:.2f">0.31</span> to <span data-result="nonsense:.4f">0.0003</span>; with the right labels to
# <span data-result="learned:.4f">0.0003</span>. So this check finds a wrong sign, a forgotten `zero_grad`, a detached tensor, a learning
# rate of zero. It never finds *wrong labels*: by heart, anything can be learned. For those, look at windows with their labels, as chapter 10
# does, and at subjects that the network has not seen.
#
# ## All windows
#
# An epoch goes through the windows once, in an order of its own. (The trainer, further below, also draws the balanced set anew for
# each epoch; this loop keeps one.) The order is drawn from seed and epoch, and from nothing else; a later section shows what
# that is good for.


# %%
def batch_at(step):
    steps_per_epoch = len(windows) // BATCH
    epoch, place = divmod(step, steps_per_epoch)
    order = np.random.default_rng([SEED, epoch]).permutation(len(windows))
    return read([windows[i] for i in order[place * BATCH :][:BATCH]])


# %%
model = new_model()
losses = train(model, batch_at, STEPS)
print(f"{STEPS} steps, {STEPS * BATCH / len(windows):.1f} epochs")

# %% mystnb={"image": {"alt": "Focal loss against the training step on the balanced windows: a thin, jagged line, and a thick one, the mean over the ten steps before. It falls from almost 0.3 at the start, steeply first, then slowly, with large differences between neighboring batches."}} tags=["hide-input"]
smooth = [losses[max(0, i - 9) : i + 1].mean() for i in range(len(losses))]
with style():
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    axes.plot(losses, color=COLORS["line"], label="each batch")
    axes.plot(
        smooth, color=COLORS["accent"], linewidth=2, label="mean of ten steps"
    )
    axes.set(xlabel="step", ylabel="focal loss", title="Windows of all kinds")
    axes.legend()
plt.show()

# %% [markdown]
# The jumps are the batches, not the network: one holds many seizures, the next few. Look at the mean. (With such
# a short training this is a beginning, no detector.)

# %% [markdown]
# ## The first step of Adam
#
# Adam divides each gradient by its own recent size. **Guess:** at the very first step, what is the "recent size", and how
# far does a parameter move whose gradient is a million times smaller than another's?

# %%
weights = torch.nn.Parameter(torch.zeros(4))
adam = torch.optim.Adam([weights], lr=0.01)
weights.grad = torch.tensor([1.0, -1e-3, 1e-5, 1e-7])
adam.step()
print(weights.data)

# %% [markdown]
# All by the full learning rate (but for the last, which has about the size of Adam's `eps`). The first step trusts the signs of a
# single batch, in every parameter. So the learning rate begins low and rises: the *warm-up*. Later, when the
# loss is near its floor, steps of the same size only jump about, so it falls to zero, along a cosine. **Turn the control** from
# none to a long one.


# %% tags=["hide-input"]
def draw_schedule(warmup):
    factors = [learning_rate_factor(step, 200, warmup) for step in range(200)]
    with style():
        figure, axes = plt.subplots(figsize=(7.6, 2.8), layout="constrained")
        axes.plot(factors, color=COLORS["accent"])
        axes.axvline(np.argmax(factors), color=COLORS["marked"], linestyle="--")
        axes.set(xlabel="step of 200; dashed: the top", ylim=(0, 1.05))
        axes.set_ylabel("share of the highest rate")
        axes.set_title(f"First step {factors[0]:.3f}, last {factors[-1]:.5f}")
    return figure


def describe_schedule(warmup):
    top = round(warmup * 200)
    return (
        f"Learning rate, as a share of the highest, over 200 steps: it rises in a straight line up to step {top}, "
        "then falls along half a cosine to almost 0 at the last step."
    )


explore(
    draw_schedule,
    alt=describe_schedule,
    warmup=("share of steps that warm up", [0.0, 0.03, 0.1, 0.3]),
)

# %% [markdown]
# The schedule is a function of the step and of the *length of the training*. So a training that was planned for 5 epochs cannot be
# made longer afterwards: at its end the rate is zero. It also is one more thing that has to be right after a resumption.
#
# ## One bad batch
#
# `clip_grad_norm_` takes all gradients as one long vector, and where that is longer than 1, shortens it to 1; the direction
# stays. But Adam does not care for the length of gradients: multiply all of them by a thousand, always, and it takes the same
# steps. **Guess,** then, what clipping is for. One parameter, gradients of one half with some noise, and one that is a hundred
# times larger: in one training at step 100, in another at step 3000. How far does Adam leap, in either?


# %%
def adam_steps(gradients, clip=np.inf):
    weight = torch.nn.Parameter(torch.zeros(1))
    adam, places = torch.optim.Adam([weight], lr=1.0), [0.0]
    for gradient in np.clip(gradients, -clip, clip):
        weight.grad = torch.full((1,), float(gradient))
        adam.step()
        places.append(weight.item())
    return np.abs(np.diff(places))


# %%
after = {}
for bad in (100, 3000):
    noise = np.random.default_rng(SEED).normal(size=bad + 301)
    gradients = 0.5 + 0.15 * noise
    gradients[bad] = 50
    free, clipped = adam_steps(gradients), adam_steps(gradients, clip=1)
    after[bad] = free[bad - 50 :], clipped[bad - 50 :]  # from 50 steps before

# %% mystnb={"image": {"alt": "Two panels, size of Adam's steps, in learning rates, from 50 steps before one gradient that is a hundred times too large to 300 after it. Left, it comes at step 100, right at step 3000. With clipping, dashed, the steps stay near 1 in both. Without it, they do not leap on the left, and leap to more than 3 on the right; then they fall in both, within some fifty steps, to about a third or less, and have hardly recovered at the end."}} tags=["hide-input"]
with style():
    figure, both = plt.subplots(
        1, 2, figsize=(8.4, 3), sharey=True, layout="constrained"
    )
    for axes, (bad, (free, clipped)) in zip(both, after.items(), strict=True):
        at = np.arange(-50, len(free) - 50)
        axes.plot(at, free, color=COLORS["marked"], label="not clipped")
        axes.plot(
            at, clipped, "--", color=COLORS["accent"], label="clipped at 1"
        )
        axes.set(xlabel="steps after the bad batch")
        axes.set_title(f"Bad batch at step {bad}")
    both[0].set_ylabel("size (learning rates)")
    both[0].legend()
plt.show()

# %%
for bad, (free, clipped) in after.items():
    print(f"bad batch at {bad:4d}: {free[50]:.1f}, {clipped[50]:.1f} clipped;")
    print(f"  100 steps later: {free[150]:.2f}, {clipped[150]:.2f} clipped")
    record(**{f"leap_{bad}": free[50], f"crawl_{bad}": free[150]})

# %% [markdown]
# Adam divides a mean of gradients by the root of a mean of squares. The first mean remembers some ten steps, so a gradient a hundred times too
# large makes it ten times too large. The second remembers a thousand. At step 100 there are only a hundred to remember: its root is ten times too large, too, and
# there is no leap (<span data-result="leap_100:.1f">1.1</span> learning rates). At step 3000 the bad square is one among a thousand, the
# root some three times too large, and Adam leaps by <span data-result="leap_3000:.1f">3.2</span> learning rates, in a direction that one batch chose.
#
# What follows is the same in both. The first mean soon forgets, the second does not, and Adam *crawls*: a hundred
# steps later, a step has <span data-result="crawl_100:.2f">0.14</span> or <span data-result="crawl_3000:.2f">0.33</span> of the learning
# rate. The clip prevents leap and crawl. It stands above the usual length, so that it changes no usual batch; what is usual, the smoke run below tells.
#
# ## What must not shrink
#
# *Weight decay* pulls parameters toward zero at each step. For the weight of a linear map that is a mild preference. For `A_log`
# of Mamba-2, zero is one particular memory and no neutral value: [chapter 06](06_mamba2_block.ipynb) measures what a hundred epochs
# of decay do to it. `parameter_groups` sorts them:

# %%
decayed, spared = parameter_groups(model, weight_decay=0.01)
names = {id(parameter): name for name, parameter in model.named_parameters()}
for group in (decayed, spared):
    shown = [names[id(parameter)] for parameter in group["params"]]
    count = sum(parameter.numel() for parameter in group["params"])
    print(f"decay {group['weight_decay']}: {count:,} in {len(shown)} tensors")
    print("  ", *[n for n in shown if "A_log" in n or "in_proj" in n][:2])

# %% [markdown]
# <a id="lab-sixteen-bits"></a>
#
# ## Sixteen bits
#
# A GPU multiplies matrices of 16-bit numbers several times as fast as such of 32, and they take half the memory. There are two kinds, and
# FP8 with 8 bits. Toward zero, a format first runs out of exponents, and then loses one digit after another.

# %%
for name in ("float32", "bfloat16", "float16", "float8_e4m3fn"):
    kind = torch.finfo(getattr(torch, name))
    print(f"{name:13s} step at 1: {kind.eps:.0e}", end="   ")
    print(f"{kind.tiny:.0e} to {kind.max:.0e},", end=" ")
    print(f"with fewer digits from {kind.tiny * kind.eps:.0e}")

# %% [markdown]
# bfloat16 has the range of float32 and only two to three decimal digits. float16 has one digit more, and a narrow range.
# **Guess:** a weight is 1 and the optimizer wants to take off `0.001`. What is left, in either?

# %%
for kind in (torch.bfloat16, torch.float16):
    weight_16 = torch.ones((), dtype=kind)
    for _ in range(100):
        weight_16 -= 0.001
    print(f"{kind}: {weight_16.item():.4f} after a hundred times; expected 0.9")

# %% [markdown]
# In bfloat16 nothing has happened, a hundred times. That is why *mixed precision* leaves the weights in float32, and what the
# optimizer knows, too. `autocast` makes 16-bit copies for convolutions and matrix products, and keeps what is delicate as it was.
#
# And the gradients? The loss is a mean over all samples of a batch, so each sample has only a small share of it; and the more windows there are
# in the batch, the smaller the share.

# %%
model.eval()
logits = model(eeg).detach().requires_grad_()  # (4, 15360)
loss = detection_loss(logits, labels, 2.0, pos_weight)
(gradient,) = torch.autograd.grad(loss, logits)
typical = gradient.abs().median()
print(f"median gradient of a logit, 4 windows: {typical:.0e}")
print(f"in a batch of 64 windows: {typical * 4 / 64:.0e}")

# %% [markdown]
# **Guess,** with the table: what do float16 and bfloat16 make of the gradients in a batch of 64 windows? Which of the two is further off?

# %%
share_of_64 = gradient[gradient != 0] * 4 / 64  # as if these were 64 windows
for kind in (torch.float16, torch.bfloat16):
    off = (share_of_64.to(kind).float() / share_of_64 - 1).abs()
    zero = (share_of_64.to(kind) == 0).float().mean().item()
    print(f"{kind}: off by {off.median():.1%} (median), {zero:.0%} become zero")
    name = str(kind).removeprefix("torch.")
    record(**{f"off_{name}": 100 * off.median(), f"zero_{name}": 100 * zero})

# %% [markdown]
# float16 has the finer step at 1, and the coarser gradients: half of them are off by <span data-result="off_float16:.0f">100</span> % or more, and
# <span data-result="zero_float16:.0f">66</span> % are gone. They lie where float16 runs out of small numbers. With bfloat16 the median is
# <span data-result="off_bfloat16:.2f">0.13</span> %, whatever their size. And the better the network gets, the smaller they become.
#
# So float16 needs a `GradScaler`, which multiplies the loss by a power of two and watches for overflows; its state is one more thing to save.
# (The program behind the notes makes a new one in each epoch.) With bfloat16 there is nothing to scale. The trainer knows bfloat16 and float32.
#
# A field note says of FP8: "Insufficient precision for medical". Its step at 1 is an eighth, by the table above; used for some products only, with
# a scale for each tensor, it may or may not do. Nobody there tried. A format is judged as any other choice is, by the loss curve and the
# scores beside those of float32, on the same windows. That is what the last section does for bfloat16.

# %% [markdown]
# ## The trainer
#
# What is still missing is dull, and has cost many people a night: validation, checkpoints, going on, logs, several GPUs.
# `helpers.training` has it, on top of [Lightning](https://lightning.ai/docs/pytorch/stable/), a library that runs a PyTorch loop on any number of
# devices and leaves the step to you. What a training is stands in a YAML file. Three come with the package:

# %%
from helpers.training import fit, load_config, shipped_configs

print(shipped_configs())
config = load_config("smoke")
print(config.optimizer, config.loss, sep="\n")

# %% [markdown]
# `smoke` asks "does everything work?", and `full` is the reference on a hospital's archive. `small` made the weights that come with the workbook, from
# 45 synthetic subjects; their [card](../weights/README.md) says what they are worth.
#
# **Guess** what happens to a learning rate that somebody calls `learning_rate`.

# %%
from helpers.training import TrainingError

path = lab.write("mine.yaml", "optimizer: {learning_rate: 0.1}\nepochs: 3\n")
with expect_error(TrainingError, match="unknown key"):
    load_config(path)

# %% [markdown]
# An unknown key is an error. In many programs it is a default that nobody asked for, and a training with another rate than the
# file says. Now the *smoke run*. (On a CPU, with fewer windows.) In a terminal it is `workbook train smoke --store STORE`.

# %% nbmake={"mock": {"changes": {"batch_size": 4, "epochs": 2, "windows_per_epoch": 8}}}
changes = {} if gpu else {"windows_per_epoch": 96, "epochs": 4}
changes["seed"] = SEED

# %%
import time

config = config.model_copy(update=changes)
ticks = []
smoke = fit(
    config,
    store,
    lab / "smoke",
    progress=lambda done, total: ticks.append(time.perf_counter()),
)

# %%
print(len(smoke.steps), "steps;", smoke.ended)
print("step  training  validation  AUROC")
for found in smoke.validations:
    print(f"{found['step']:4d}  {found['training_loss']:8.3f}", end="  ")
    print(f"{found['loss']:10.3f}  {found['auroc']:5.2f}")

# %% [markdown]
# (The loss of the training batches, their mean over the epoch, and that of the validation subjects. *AUROC*, of chapter 12: how often a second in
# a seizure gets a higher score than one outside. One half is guessing.)

# %% mystnb={"image": {"alt": "Focal loss of the smoke run against the step: a jagged line, one value for each training batch, that falls from almost 0.3; and for each epoch a large dot, the loss over the validation subjects' whole recordings."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    axes.plot(smoke.steps[:, 0], color=COLORS["quiet"], label="training batch")
    axes.plot(
        [found["step"] for found in smoke.validations],
        [found["loss"] for found in smoke.validations],
        "o-",
        color=COLORS["accent"],
        label="validation",
    )
    axes.set(xlabel="step", ylabel="focal loss", title="The smoke run")
    axes.set_ylim(bottom=0)
    axes.legend()
plt.show()

# %% [markdown]
# **Think before you read on:** the line and the dots differ. What does the distance say?
#
# Little. A batch is balanced, and a validation takes whole recordings, in which seizures are rarer: that makes it easier. Its subjects are
# unknown to the network: that makes it harder. Dropout is on in the one and off in the other, and batch norm takes its statistics from
# the batch in the one, and from a running mean, which lags behind in so short a training, in the other. So hold each curve against
# itself.

# %%
curves = {
    name: [found[name] for found in smoke.validations]
    for name in ("training_loss", "loss")
}
epoch, epochs = int(np.argmin(curves["loss"])) + 1, len(curves["loss"])
print(f"the validation loss was lowest after epoch {epoch} of {epochs}")
for name, curve in curves.items():
    record(**{f"{name}_first": curve[0], f"{name}_last": curve[-1]})
record(epoch_lowest=epoch, epochs=epochs)

# %% [markdown]
# From the first epoch to the last, the training loss went from <span data-result="training_loss_first:.2f">0.18</span> to
# <span data-result="training_loss_last:.2f">0.03</span>, the validation loss from <span data-result="loss_first:.2f">0.82</span> to
# <span data-result="loss_last:.2f">0.15</span>; its lowest value came after epoch <span data-result="epoch_lowest">3</span> of
# <span data-result="epochs">5</span>. How to read such numbers:
#
# - *Both fall, and the last validation is the lowest:* what the network learns still holds for others. A longer training, planned as such from the start, may be better.
# - *The training loss falls, and the validation loss stays or rises:* the network learns its own subjects by heart. More epochs do not help; more
#   subjects do. The run on a CPU has so few that it mostly ends like this. (The AUROC may rise all the same: it sees the order of the answers,
#   and the loss also sees answers that are sure and wrong.)
# - *Neither falls:* back to the four windows.

# %%
pace = float(np.median(np.diff(ticks)))  # validations are few: no matter
clipped = float(np.mean(smoke.steps[:, 1] > config.optimizer.clip))
print(f"{1000 * pace:.0f} ms a step, {config.batch_size / pace:.0f} windows/s")
print(f"gradients: median length {np.median(smoke.steps[:, 1]):.2f},", end=" ")
print(f"{clipped:.0%} longer than {config.optimizer.clip:g}")
record(smoke_ms=1000 * pace, smoke_steps=len(smoke.steps))
record(gradient=np.median(smoke.steps[:, 1]), clipped=100 * clipped)

# %% [markdown]
# <span data-result="smoke_steps">400</span> steps at <span data-result="smoke_ms:.0f">47</span> ms each. The median gradient had a length of
# <span data-result="gradient:.2f">0.26</span>, and <span data-result="clipped:.0f">4</span> % were clipped. If few are, the clip is an insurance. If
# most are, every batch counts the same, whatever it says: raise the clip. The curves are in `tensorboard --logdir smoke/tensorboard`, while it
# runs as well.
#
# ## When to stop
#
# The trainer validates after each epoch, keeps the best weights, and stops when `patience` epochs in a row were no better. Better
# at what? A low loss is not what a ward needs. It wants seizures found, at a bearable number of false alarms: here the *sensitivity at 10 false
# alarms in 24 hours*, of chapter 12. **Guess** how many different values that can take.

# %%
validation = [
    one for one in store.recordings if one.subject in splits["validation"]
]
count = sum(len(one.seizures) for one in validation)
hours = sum(one.duration for one in validation) / 3600
print(f"{count} seizures, so {count + 1} values from 0 to 1")
print(f"{hours:.1f} hours; 10 in 24 hours are {10 * hours / 24:.2f} in these")
record(validation_seizures=count, hours=hours)

# %% [markdown]
# Less than one false alarm in <span data-result="hours:.1f">0.7</span> hours: so none, at the threshold that suits these very recordings. That can
# tell epochs apart. It says nothing about a day.
#
# With <span data-result="validation_seizures">6</span> seizures, epochs will often tie. Counting only *strictly better* ones then stops a training
# that still learns; counting ties as better never stops. So the trainer compares pairs: first the sensitivity, then, between equals,
# the lower loss.

# %%
from helpers.training import merit

for found in smoke.validations:
    sensitivity, minus_loss = merit(found)
    mark = "  <- best" if found is smoke.best else ""
    print(f"({sensitivity:.2f}, {minus_loss:.4f}){mark}")

# %% [markdown]
# The best one may have a higher loss than another, if it found one seizure more.
#
# One warning. These seizures have now been used to *choose*. The best of many validations is better than the network is. What it
# is worth, the test subjects say, whom nobody has touched. Once.

# %% [markdown]
# ## What a checkpoint holds
#
# **Guess:** the weights of this network take 4 bytes a parameter. How large is what you need to go on?

# %%
from helpers.training import read_checkpoint

for file in (smoke.detector, smoke.checkpoint):
    print(f"{file.name:12s} {file.stat().st_size / 1000:.0f} kB")
    record(**{f"{file.stem}_kb": file.stat().st_size / 1000})

# %%
last = read_checkpoint(smoke.checkpoint)
print(*last, sep=", ")

# %% [markdown]
# Adam keeps two numbers for each parameter, the mean gradient and the mean square, so `last.ckpt` is about three times as large as
# `detector.pt`. And there is what tells a reader, next year, what this was:

# %%
facts = last["training"]
for name in ("backend", "device", "precision", "step", "pos_weight"):
    print(f"{name:10s} {facts[name]}")
print(f"data       {facts['data'][:16]}…")

# %% [markdown]
# `data` is the fingerprint of the store. Go on with other data, and the trainer refuses, unless you insist.

# %% [markdown]
# <a id="lab-kill"></a>
#
# ## Pull the plug
#
# Now a training is killed, with SIGKILL: no warning, no clean-up, as when the power fails or a cluster takes its
# machine back. A still smaller network is enough, on the CPU. This is its configuration:

# %% nbmake={"mock": {"EPOCH_WINDOWS": 8}}
EPOCH_WINDOWS = 16

# %%
lab.write(
    "tiny.yaml",
    f"""
    detector: {{widths: [4, 4, 8, 32], rescnn_blocks: 0, mamba_layers: 1, backend: torch}}
    optimizer: {{lr: 0.003, warmup: 0.1}}
    epochs: 3
    windows_per_epoch: {EPOCH_WINDOWS}
    batch_size: 2
    workers: 0
    checkpoint_every: 3
    """,
)
print((lab / "tiny.yaml").read_text().strip())

# %% [markdown]
# The program that trains, in short:
#
# ```text
# for each name of a folder that comes in:
#     a child process trains there, and after each step prints its own number and the step
#     when the child has ended, in whichever way, print "ended"
# ```
#
# So we know whom to kill, and when. (The child comes from a fork, so that the imports, which take seconds, happen once.)

# %%
_ = lab.write(
    "trainer.py",
    """
    import os, sys
    from helpers.eeg import open_store
    from helpers.training import fit

    def tell(done, total):
        print(os.getpid(), done, flush=True)

    for line in sys.stdin:
        if os.fork() == 0:
            fit("tiny.yaml", open_store("store"), line.strip(),
                resume=True, progress=tell)
            os._exit(0)
        os.wait()
        print("ended", flush=True)
    """,
)

# %%
import os
import signal
import subprocess
import sys

trainer = subprocess.Popen(
    [sys.executable, "trainer.py"],
    cwd=lab.folder,
    env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=(lab / "errors.txt").open("w"),
    text=True,
)


# %%
def train_in(folder, kill_after=None):
    """Returns the last step that was told."""
    print(folder, file=trainer.stdin, flush=True)
    step = 0
    for line in trainer.stdout:
        if line == "ended\n":
            return step
        process, step = map(int, line.split())
        if step == kill_after:
            os.kill(process, signal.SIGKILL)
    raise RuntimeError((lab / "errors.txt").read_text()[-2000:])


# %% [markdown]
# First one training that nobody disturbs, then one that is killed, twice. A checkpoint comes after every third step and after each
# epoch.

# %%
total = train_in("whole")
print("undisturbed:", total, "steps")
saved = []
for step in (total // 2 - 1, total - 2):
    told = train_in("killed", kill_after=step)
    saved.append(read_checkpoint(lab / "killed" / "last.ckpt"))
    print(f"killed after step {told};", end=" ")
    print(f"the last checkpoint is of step {saved[-1]['training']['step']}")

# %% [markdown]
# What has been computed since the last checkpoint is lost. That is the price, and `checkpoint_every` sets it. **Guess:** the
# third process goes on to the end. How close are its losses to those of the training that nobody disturbed? Equal to one
# decimal? To three? Did the second process not draw other dropout masks? (A network this small learns little in so few steps: two curves
# could look alike whatever happened. So the cells below compare numbers, and then every *weight*.)

# %%
train_in("killed")
trainer.stdin.close()
trainer.wait()
whole, resumed = (
    read_checkpoint(lab / name / "last.ckpt") for name in ("whole", "killed")
)
apart = (whole["steps"] - resumed["steps"]).abs().max().item()
print(f"losses and gradients of {total} steps: {apart} apart at most")

# %%
equal = all(
    torch.equal(weights, resumed["state_dict"][name])
    for name, weights in whole["state_dict"].items()
)
record(kill_steps=total, kill_difference=apart)
print("every weight equal, to the last bit:", equal)
assert equal
assert apart == 0

# %% mystnb={"image": {"alt": "Loss against the step of a short training. A thick gray line is the training that nobody disturbed. On it, without any visible distance, lies a thin dashed line, that of the training that was killed twice. Two vertical lines mark the checkpoints from which it went on."}} tags=["hide-input"]
with style():
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    steps = np.arange(1, total + 1)
    for run, color, width, kind, name in [
        (whole, COLORS["line"], 5, "-", "undisturbed"),
        (resumed, COLORS["accent"], 1.5, "--", "killed twice, and resumed"),
    ]:
        axes.plot(
            steps,
            run["steps"][:, 0],
            kind,
            color=color,
            linewidth=width,
            label=name,
        )
    for one in saved:
        axes.axvline(
            one["training"]["step"] + 0.5, color=COLORS["marked"], linewidth=1
        )
    axes.set(xlabel="step; vertical: it went on from here", ylabel="focal loss")
    axes.set_title("Three processes, one training")
    axes.margins(y=0.25)
    axes.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# Zero. Not close: the same. A training is a function of what follows, and the trainer makes sure that every part is either saved or can be
# computed anew:
#
# | part | how it comes back |
# |---|---|
# | weights, and the running statistics of batch norms | saved |
# | Adam's two means, and its count of steps | saved |
# | learning rate | a function of the step |
# | which windows are in the batch, in which order | a function of (seed, epoch, step) |
# | dropout masks | drawn from (seed, step), not from where a generator happens to be |
# | best validation so far, epochs waited | saved |
#
# (On a CPU, with the same number of threads. On a GPU some sums are added up in another order each time, and two trainings differ in the last
# digits even if nobody disturbs them.)
#
# Why be so strict? Because "about the same" cannot be tested. Where weights are merely alike, a part of the state may be missing, and you find out when
# your results depend on how often the cluster was restarted.
#
# A good place for a pause. Each of the next three sections takes apart one thing that goes wrong with saving, and can wait for another day.

# %% [markdown]
# <a id="lab-replay"></a>
#
# ## The part that is forgotten
#
# Lightning saves weights, optimizer and schedule in the middle of an epoch. **Guess:** which of the eight batches of this epoch does it show
# the network after a resumption from step 3?

# %% tags=["hide-input"]
from lightning.pytorch import LightningModule, Trainer


class Notes(LightningModule):
    """Writes down the numbers of the batches that it gets, and saves after the third."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def training_step(self, batch, index):
        self.seen.append(int(batch))
        return self.layer(torch.ones(1, 1)).mean()

    def on_train_batch_end(self, *_):
        if self.global_step == 3:
            self.trainer.save_checkpoint(lab / "third.ckpt")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


# %% tags=["hide-input"]
import logging
import warnings

logging.getLogger("lightning.pytorch").setLevel("ERROR")


def batches_seen(loader, resume):
    notes = Notes()
    with warnings.catch_warnings(record=True) as told:
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        path = lab / "third.ckpt" if resume else None
        trainer.fit(notes, loader, ckpt_path=path, weights_only=True)
    said = [str(one.message) for one in told]
    return notes.seen, [text for text in said if "resum" in text]


# %%
from torch.utils.data import DataLoader

plain = DataLoader(range(8), batch_size=None)
print("undisturbed: ", batches_seen(plain, False)[0])

# %%
seen, said = batches_seen(plain, True)
print("after step 3:", seen)
print(*said)

# %% [markdown]
# It takes eight steps in all, as it should, and shows the *first* batches again; the last three are never seen. With a shuffled loader
# nobody would notice. Lightning warns, and names the remedy: a loader that has a state. Ours is a counter, which is enough because the order is a
# function of (seed, epoch, step).

# %%
from helpers.training import ResumableLoader

print("undisturbed: ", batches_seen(ResumableLoader(range(8), 8), False)[0])
print("after step 3:", batches_seen(ResumableLoader(range(8), 8), True)[0])

# %% [markdown]
# <a id="lab-half-file"></a>
#
# ## A file that is whole, or not there
#
# The kill came between two steps. What if it comes while the checkpoint is being *written*? `open(path, "wb")` first empties the file that was there.
# This program begins to write a new checkpoint over the last one, and is killed half way; once with `open`, once with `replacing`,
# which is what the trainer uses.

# %%
from helpers.environment.labs import LabError

whole_file = (lab / "whole" / "last.ckpt").read_bytes()
for how in ("open", "replacing"):
    path = lab.write(f"{how}.ckpt", whole_file)
    with expect_error(LabError, match="SIGKILL"):
        lab.python(f"""
            import os, signal
            from helpers.environment import replacing

            content = open("{how}.ckpt", "rb").read()
            with {how}("{how}.ckpt", "wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        """)

# %% [markdown]
# **Guess** what is in each of the two files.

# %%
with expect_error(TrainingError, match="no checkpoint"):
    read_checkpoint(lab / "open.ckpt")

# %%
step = read_checkpoint(lab / "replacing.ckpt")["training"]["step"]
print("replacing.ckpt: whole, of step", step)
print(
    "left behind:", len(list(lab.folder.glob(".replacing.ckpt.*.part"))), "part"
)

# %% [markdown]
# With `open`, the new checkpoint is broken *and the old one is gone*: days of training, lost by the attempt to save them. `replacing` writes
# *beside* the file, makes the system put it on the disk (`fsync`), and renames it. A rename within one folder happens or does not
# happen; there is no half. The part that is left behind, the next run removes.
#
# *Beside* matters: from a folder for temporary files, through which Lightning writes, to a mounted volume, a rename is a copy again, and a copy can stop half
# way.

# %% [markdown]
# <a id="lab-weights-only"></a>
#
# ## A checkpoint that runs code
#
# A PyTorch file is a zip archive with a *pickle* in it, and a pickle is a small program: it may say "call this function with these arguments". Here is one
# that calls `print`. It might as well have been `os.system`.


# %%
class Gift:
    def __reduce__(self):  # how to rebuild this object: call a function
        return print, ("This line was printed by reading a file.",)


torch.save({"state_dict": Gift(), "config": {}}, lab / "gift.ckpt")
_ = torch.load(lab / "gift.ckpt", weights_only=False)

# %% [markdown]
# No function of ours was called; the file was *read*. So a checkpoint from somebody else is a program from somebody else, unless it is read
# with `weights_only=True`: tensors, numbers, texts, lists and dicts, and nothing that can be called.

# %%
import pickle

with expect_error(pickle.UnpicklingError, match="print"):
    torch.load(lab / "gift.ckpt", weights_only=True)

# %% [markdown]
# The line to read is the fourth: `GLOBAL print was not an allowed global`. (The rest explains how to run it all the same.)
#
# `weights_only=True` is the default since PyTorch 2.6, and many programs switch it off again, because their checkpoints hold an object of some
# class. So the other half of the remedy is to *save nothing but data*. All that the trainer writes comes back under `weights_only=True`.

# %% [markdown]
# <a id="lab-loader"></a>
#
# ## Where does the time go?
#
# A field note, under "slow training": "Ensure pin_memory=true and num_workers>0". That helps if the GPU waits for data. **Guess** which half of a
# step is larger, reading or computing, and by which factor.


# %%
def synchronize():
    if gpu:
        torch.cuda.synchronize()  # a GPU works in the background: wait


model, took = new_model().train(), []
for step in range(2 if STEPS < 10 else 12):
    began = time.perf_counter()
    eeg, labels = batch_at(step)
    synchronize()
    half_time = time.perf_counter()
    detection_loss(model(eeg), labels, 2.0, pos_weight).backward()
    synchronize()
    took.append((half_time - began, time.perf_counter() - half_time))

# %%
read_ms, compute_ms = 1000 * np.median(took[1:], axis=0)
print(
    f"{BATCH} windows: reading {read_ms:.1f} ms, computing {compute_ms:.0f} ms"
)
record(read_ms=read_ms, compute_ms=compute_ms)

# %% [markdown]
# Reading took <span data-result="read_ms:.1f">6.3</span> ms, forward and backward <span data-result="compute_ms:.0f">25</span> ms. A perfect loader saves
# the first of the two, no more; workers hide it behind the second. The faster the GPU and the smaller the network, the closer the two come. If
# reading is the larger half, ask first *what* is read: [chapter 10](10_windows.ipynb) holds a compressed file against a memory map.

# %% [markdown]
# <a id="lab-half"></a>
#
# ## bfloat16 against float32
#
# At last the question of format, at full size: the reference detector with 32.6 million parameters, same weights, same windows, same order, `mamba_ssm`'s
# kernels, thirty steps. ("float32" is PyTorch's, in which convolutions may take TF32.) It needs a GPU; without one you see what it printed where there was one.
# **Guess:** how much faster is bfloat16, and how far apart are the losses at the end?

# %%
from helpers.teaching import needs


@needs("a GPU", "mamba_ssm")
def half_precision():
    curves = {}
    for half in (False, True):
        torch.manual_seed(SEED)
        network = SeizureDetector(backend="mamba_ssm").to(device)
        train(network, batch_at, 3, lr=0.0, half=half)  # compiles the kernels
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        began = time.perf_counter()
        curves[half] = train(network, batch_at, 30, lr=3e-4, half=half)
        seconds = (time.perf_counter() - began) / 30  # reading included
        memory = torch.cuda.max_memory_allocated() / 1e9
        name = "bfloat16" if half else "float32"
        print(f"{name:8s} {1000 * seconds:.0f} ms a step,", end=" ")
        print(f"{BATCH / seconds:.0f} windows/s, {memory:.1f} GB,", end=" ")
        print(f"last ten losses {curves[half][-10:].mean():.4f}")
    apart = np.abs(curves[True] - curves[False])
    print(f"losses {apart[0]:.4f} apart at first, {apart.max():.4f} at most")
    return curves


# %% [markdown]
# Look at three things. The *speed*: "several times as fast" was said of matrix products, and a step has much besides them, such as norms, the
# optimizer's float32 numbers, reading, and Python that starts one small kernel after the other ([chapter 05](05_ssm_to_ssd.ipynb)
# measures how long a GPU waits for that). So a tenth or so is what is left of it here. The *memory*: this is what the sixteen bits save. And the *losses*: the first
# one shows the rounding alone. Later ones differ more, because each training goes its own way from there. What remains is a comparison
# of scores, with several seeds, on validation subjects; no single curve settles it.

# %% [markdown]
# ## What can go wrong here
#
# | you see | because | do |
# |---|---|---|
# | a first loss of more than twice log 2 (with focus 2: a quarter of it) times the mean weight, 1 + r(w − 1) | labels, sign or scale are wrong | look at one batch |
# | four windows cannot be learned by heart | the loop, the shapes or the loss | take the loop apart, line by line |
# | they can, and validation stays at chance | wrong labels, or a leak the other way | look at windows; split by subject |
# | probabilities that are all near one half, or too high | focus, or weight | expected; choose a threshold, or calibrate |
# | the loss jumps at the first steps and never comes back | no warm-up | warm up |
# | training falls, validation does not | learned by heart | more subjects |
# | a leap after one bad batch, then steps that crawl | Adam forgets its gradient in ten steps, its square in a thousand | clip |
# | a training in bfloat16 stands still | the *weights* are in bfloat16 | autocast, weights in float32 |
# | another curve after a resumption | some state is missing, most often the place in the epoch | <a href="#lab-replay">a loader with a state</a> |
# | no checkpoint after a crash | written over the old one | <a href="#lab-half-file">beside, sync, rename</a> |
# | `weights_only` refuses your file | it holds an object | save data; convert the file once, if you trust its source |

# %% [markdown]
# ## Exercises
#
# Fill in the function, run the cell. An unfilled one prints a hint; a wrong one says what it expected.
#
# **11.1** Write `focal_loss(logits, labels, gamma, weight)`: the mean over all samples of $(1 - p)^\gamma \, w \, (-\log p)$, in NumPy, as a number.
# `labels` has the shape of `logits`, with 0 and 1. Mind logits of 800.

# %%
from helpers.teaching import check, solution


def focal_loss(logits, labels, gamma, weight): ...


check("11.1", focal_loss)

# %% tags=["remove-input"]
solution("11.1")

# %% [markdown]
# **11.2** One window is broken: it stands at place `place` (from 0) in the order of epoch `epoch` (from 0). Who has met it, and when? Write
# `met_at(epoch, place, windows, batch_size, devices)`: a pair, the step, counted from 0 over the whole training, and the number of the
# device. An epoch has `windows` windows; what does not fill a batch at its end is left out, and for a window left out the answer is
# `(-1, -1)`. A batch is `batch_size` windows for all devices together. They are dealt like cards: the first to device 0, the next to
# device 1, and so on in turns. (`batch_size` is a multiple of `devices`.)


# %%
def met_at(epoch, place, windows, batch_size, devices): ...


check("11.2", met_at)

# %% tags=["remove-input"]
solution("11.2")

# %% [markdown]
# **11.3** Write `learning_rate(step, total, warmup, highest)`, where `warmup` is a number of steps: `highest` times $(\text{step} + 1) / (\text{warmup} + 1)$ before step
# `warmup`; from there on half a cosine, which begins at `highest` and would reach 0 at step `total`.


# %%
def learning_rate(step, total, warmup, highest): ...


check("11.3", learning_rate)

# %% tags=["remove-input"]
solution("11.3")

# %% [markdown]
# **11.4** Write `stop_after(validations, patience)`: after how many of these validations a training stops. Each is a pair `(sensitivity, loss)`. One is better than another
# if its sensitivity is higher, or if that is equal and its loss lower. Stop when `patience` in a row were no better than the best before
# them; return the length of the list if that never happens.


# %%
def stop_after(validations, patience): ...


check("11.4", stop_after)

# %% tags=["remove-input"]
solution("11.4")

# %% [markdown]
# **In a terminal**, make a data set and train on it: `workbook synthetic eeg`, `workbook prepare eeg --store store`, `workbook train smoke --store store --output
# run`. Kill it from another terminal with `kill -9`. Then say the same with `--resume`.
#
# ## Recap
#
# - The loss is a mean over samples, so weights come from shares of samples. Focus and weight both move the probabilities away from the truth.
# - Learn four windows by heart first. It finds broken loops, never wrong labels.
# - Warm-up is for Adam's first steps, the clip for one bad batch and the long memory of it, decay for maps only.
# - Sixteen bits are for products. Weights stay in float32; bfloat16 needs no scaler.
# - Stop by what you want, with a tie-breaker, on subjects that are neither trained on nor tested on.
# - A training that can be stopped anywhere keeps no state that is neither saved nor a function of (seed, epoch, step). Test it: kill it, and compare bits.
# - Write beside, sync, rename. Read with `weights_only=True`, and write nothing that this refuses.
#
# ## What next
#
# [Chapter 12](12_scoring.ipynb) asks what the detector is worth: events, false alarms, and what all the scores leave out. The [part page](../book/part_eeg.md)
# shows where you are.
