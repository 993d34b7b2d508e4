"""Exercises of chapter 11: the focal loss, who meets which window when, the schedule, and when to stop."""

import math

import numpy as np

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def focal_loss(logits, labels, gamma, weight):
    sign = np.where(labels == 1, 1.0, -1.0)
    loss = np.logaddexp(0, -sign * logits)  # -log p of the right answer
    log_wrong = -np.logaddexp(0, sign * logits)  # log(1 - p)
    return np.mean(np.exp(gamma * log_wrong) * np.where(labels == 1, weight, 1.0) * loss)


def check_focal_loss(answer):
    draw = np.random.default_rng(1)
    cases = [
        (np.array([0.0, 0.0, 0.0]), np.array([1, 0, 0]), 2.0, 1.0),
        (np.array([-800.0, 800.0, 3.0]), np.array([1, 1, 0]), 1.0, 2.0),  # exp(800) is too large for a float64
    ]
    for _ in range(8):
        shape = tuple(draw.integers(1, 9, draw.integers(1, 3)))
        labels = draw.integers(0, 2, shape)
        cases.append((draw.normal(0, 3, shape), labels, float(draw.choice([0, 0.5, 1, 2, 5])), draw.uniform(0.5, 4)))
    for logits, labels, gamma, weight in cases:
        with np.errstate(all="ignore"):
            found = attempt(answer, logits.copy(), labels.copy(), gamma, weight)
        total = 0.0
        for logit, label in zip(logits.ravel().tolist(), labels.ravel().tolist(), strict=True):  # one by one
            z = logit if label else -logit
            p = 1 / (1 + math.exp(-z)) if z > -700 else 0.0
            minus_log_p = -math.log(p) if p else -z
            wrong = 1 / (1 + math.exp(z)) if z < 700 else 0.0
            total += wrong**gamma * (weight if label else 1.0) * minus_log_p
        expected = total / logits.size
        if np.shape(found) != () or not math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-12):
            raise WrongAnswer(
                f"focal_loss({logits.ravel()[:4].round(2).tolist()}…, {labels.ravel()[:4].tolist()}…, {gamma:g}, "
                f"{weight:.3g}) gave {found}, expected {expected:.6g}: the mean of (1 - p)^gamma · w · (-log p), with "
                "p the probability of the right answer, and w 1 where the label is 0; large logits must not overflow."
            )


def met_at(epoch, place, windows, batch_size, devices):
    steps = windows // batch_size  # of an epoch
    batch, seat = divmod(place, batch_size)
    if batch == steps:  # left out: it would be in the batch that is not full
        return -1, -1
    return epoch * steps + batch, seat % devices


def check_met_at(answer):
    draw = np.random.default_rng(4)
    cases = [
        (0, 0, 8, 4, 2),
        (2, 5, 10, 4, 2),
        (1, 9, 10, 4, 2),
        (3, 11, 12, 6, 3),
        (0, 7, 9, 4, 1),
        (5, 640, 643, 64, 8),
    ]
    for _ in range(14):
        devices, epoch = int(draw.integers(1, 5)), int(draw.integers(0, 6))
        batch_size = devices * int(draw.integers(1, 5))
        windows = batch_size + int(draw.integers(0, 40))
        cases.append((epoch, int(draw.integers(0, windows)), windows, batch_size, devices))
    for case in cases:
        found, expected = attempt(answer, *case), _dealt(*case)
        if np.shape(found) != (2,) or tuple(found) != expected:
            raise WrongAnswer(
                f"met_at{case} gave {found}, expected {expected}: steps are counted over all epochs, an epoch leaves "
                "out what fills no batch, and a batch is dealt to the devices in turns."
            )


def _dealt(epoch, place, windows, batch_size, devices):
    """`met_at` by dealing out every window of every epoch, one after the other."""
    step, met = 0, (-1, -1)
    for now in range(epoch + 1):
        left = list(range(windows))
        while len(left) >= batch_size:
            batch, left = left[:batch_size], left[batch_size:]
            for device in range(devices):
                if now == epoch and place in batch[device::devices]:
                    met = (step, device)
            step += 1
    return met


def learning_rate(step, total, warmup, highest):
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    return highest * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


def check_learning_rate(answer):
    draw = np.random.default_rng(2)
    cases = [(0, 100, 10), (9, 100, 10), (10, 100, 10), (55, 100, 10), (99, 100, 10), (0, 50, 0), (0, 7, 1)]
    for _ in range(10):
        total = int(draw.integers(10, 5000))
        warmup = int(draw.integers(0, total // 2))
        cases.append((int(draw.integers(0, total)), total, warmup))
    for step, total, warmup in cases:
        highest = float(draw.choice([1e-3, 3e-4, 0.02]))
        found = attempt(answer, step, total, warmup, highest)
        # cos² of the half angle is the same hill
        rest = math.pi / 2 * (step - warmup) / (total - warmup)
        expected = highest * ((step + 1) / (warmup + 1) if step < warmup else math.cos(rest) ** 2)
        if not math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-15):
            raise WrongAnswer(
                f"learning_rate({step}, {total}, {warmup}, {highest:g}) gave {found:.6g}, expected {expected:.6g}: "
                f"up in equal parts so that step {warmup} is the first at the top, then half a cosine that would "
                f"reach 0 at step {total}."
            )


def stop_after(validations, patience):
    best, waited = None, 0
    for count, (sensitivity, loss) in enumerate(validations, start=1):
        found = (sensitivity, -loss)
        if best is None or found > best:
            best, waited = found, 0
        else:
            waited += 1
        if waited == patience:
            return count
    return len(validations)


def check_stop_after(answer):
    draw = np.random.default_rng(3)
    cases = [
        ([(0.5, 0.2), (0.5, 0.1), (0.5, 0.3), (0.5, 0.2), (0.5, 0.15)], 3),  # the loss decides between equals
        ([(0.8, 0.1), (0.2, 0.3), (0.4, 0.2), (0.6, 0.1), (0.7, 0.1)], 2),  # better than before, not than the best
        ([(0.2, 0.5)], 1),
        ([(0.5, 0.2), (0.6, 0.9), (0.5, 0.1), (0.5, 0.05), (0.9, 0.9)], 2),  # a low loss does not outweigh
    ]
    for _ in range(12):
        count = int(draw.integers(3, 14))
        pairs = [(int(draw.integers(0, 5)) / 4, round(float(draw.uniform(0.05, 0.4)), 3)) for _ in range(count)]
        cases.append((pairs, int(draw.integers(1, 5))))
    for validations, patience in cases:
        found = attempt(answer, list(validations), patience)
        expected = len(validations)
        for last in range(len(validations)):  # from the definition: where the best so far stands
            ranked = [(sensitivity, -loss, -place) for place, (sensitivity, loss) in enumerate(validations[: last + 1])]
            if last + max(ranked)[2] >= patience:  # so many validations since
                expected = last + 1
                break
        if found != expected:
            raise WrongAnswer(
                f"stop_after({validations}, {patience}) gave {found}, expected {expected}: stop at the first "
                f"validation that has the best one {patience} before it; between equal sensitivities the lower loss "
                "is better."
            )


EXERCISES = [
    Exercise(
        "11.1",
        "np.logaddexp(0, -z) is -log(sigmoid(z)), for any z.",
        check_focal_loss,
        focal_loss,
        {
            "takes the sigmoid first": lambda logits, labels, gamma, weight: _from_probabilities(
                1 / (1 + np.exp(-logits)), labels, gamma, weight
            ),
            "focuses on what is right": lambda logits, labels, gamma, weight: np.mean(
                np.exp(-gamma * np.logaddexp(0, -_signed(logits, labels)))
                * np.where(labels == 1, weight, 1.0)
                * np.logaddexp(0, -_signed(logits, labels))
            ),
            "weighs both kinds": lambda logits, labels, gamma, weight: weight * focal_loss(logits, labels, gamma, 1.0),
            "weighs the wrong kind": lambda logits, labels, gamma, weight: (
                weight * focal_loss(logits, labels, gamma, 1 / weight)
            ),
            "adds up": lambda logits, labels, gamma, weight: focal_loss(logits, labels, gamma, weight) * logits.size,
        },
    ),
    Exercise(
        "11.2",
        "how many steps has an epoch, and in which of its batches is the place?",
        check_met_at,
        met_at,
        {
            "counts the batch that is not full": lambda epoch, place, windows, batch_size, devices: (
                epoch * math.ceil(windows / batch_size) + place // batch_size,
                place % batch_size % devices,
            ),
            "goes on with what was left out": lambda epoch, place, windows, batch_size, devices: (
                (epoch * windows + place) // batch_size,
                (epoch * windows + place) % batch_size % devices,
            ),
            "leaves nothing out": lambda epoch, place, windows, batch_size, devices: (
                epoch * (windows // batch_size) + place // batch_size,
                place % batch_size % devices,
            ),
            "a batch for each device": lambda epoch, place, windows, batch_size, devices: met_at(
                epoch, place, windows, batch_size * devices, devices
            ),
            "blocks instead of turns": lambda epoch, place, windows, batch_size, devices: (
                step := met_at(epoch, place, windows, batch_size, devices)[0],
                -1 if step < 0 else place % batch_size // (batch_size // devices),
            ),
            "begins each epoch at step 0": lambda epoch, place, windows, batch_size, devices: met_at(
                0, place, windows, batch_size, devices
            ),
        },
    ),
    Exercise(
        "11.3",
        "the trainer's is drawn above: with `warmup` steps of warm-up, step `warmup` is the first at the top.",
        check_learning_rate,
        learning_rate,
        {
            "a first step of 0": lambda step, total, warmup, highest: (
                highest * step / warmup if step < warmup else learning_rate(step, total, warmup, highest)
            ),
            "a cosine from the first step": lambda step, total, warmup, highest: (
                learning_rate(step, total, warmup, highest)
                if step < warmup
                else highest * (1 + math.cos(math.pi * step / total)) / 2
            ),
            "a whole cosine": lambda step, total, warmup, highest: (
                learning_rate(step, total, warmup, highest)
                if step < warmup
                else highest * (1 + math.cos(2 * math.pi * (step - warmup) / (total - warmup))) / 2
            ),
            "falls in a line": lambda step, total, warmup, highest: (
                learning_rate(step, total, warmup, highest)
                if step < warmup
                else highest * (total - step) / (total - warmup)
            ),
        },
    ),
    Exercise(
        "11.4",
        "keep the best pair so far and count the validations since. Python compares pairs one place at a time.",
        check_stop_after,
        stop_after,
        {
            "compares with the one before": lambda validations, patience: _stopped(validations, patience, last=True),
            "looks at the sensitivity only": lambda validations, patience: _stopped(
                [(sensitivity, 0.0) for sensitivity, _ in validations], patience
            ),
            "looks at the loss only": lambda validations, patience: _stopped(
                [(0.0, loss) for _, loss in validations], patience
            ),
            "takes a higher loss for better": lambda validations, patience: _stopped(
                [(sensitivity, -loss) for sensitivity, loss in validations], patience
            ),
            "waits one more": lambda validations, patience: _stopped(validations, patience + 1),
        },
    ),
]


def _signed(logits, labels):
    return np.where(labels == 1, logits, -logits)


def _from_probabilities(probabilities, labels, gamma, weight):
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    return np.mean((1 - right) ** gamma * np.where(labels == 1, weight, 1.0) * -np.log(right))


def _stopped(validations, patience, last=False):
    """`stop_after` that may compare with the last validation instead of the best, for a wrong answer."""
    best, waited = None, 0
    for count, (sensitivity, loss) in enumerate(validations, start=1):
        found = (sensitivity, -loss)
        better = best is None or found > best
        waited = 0 if better else waited + 1
        best = found if better or last else best
        if waited == patience:
            return count
    return len(validations)
