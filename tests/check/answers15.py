"""Chapter 15: right and wrong answers written another way than ours."""

import math

import numpy as np


def ramp(step, steps, warmup, peak, floor=0.1):
    x = [-1, warmup - 1, warmup, steps - 1]
    y = [0.0, peak, peak, floor * peak]
    return float(np.interp(step, x, y))


def from_zero(step, steps, warmup, peak):
    x = [0, warmup, steps - 1]
    return float(np.interp(step, x, [0.0, peak, 0.1 * peak]))


def from_start(step, steps, warmup, peak):
    return float(np.interp(step, [0, steps - 1], [peak, 0.1 * peak]))


def jump(step, steps, warmup, peak):
    early = step < warmup
    return (ramp if early else from_start)(step, steps, warmup, peak)


def spread(values, n=None, divide=math.sqrt, t=2.776):
    n = n or len(values) - 1
    mean = sum(values) / len(values)
    s = math.sqrt(sum((x - mean) ** 2 for x in values) / n)
    return mean, t * s / divide(len(values))


def boltzmann(x, t):
    e = np.exp(x * (1 / t))
    return e / np.sum(e)


RIGHT = {
    "15.1": lambda t: (
        np.delete(t, -1, axis=1),
        np.delete(t, 0, axis=1),
    ),
    "15.2": ramp,
    "15.3": spread,
    "15.4": boltzmann,
}

WRONG = {
    "15.1": {
        "not shifted": lambda t: (np.delete(t, -1, 1), np.delete(t, -1, 1)),
        "shifted the wrong way": lambda t: (
            np.delete(t, 0, 1),
            np.delete(t, -1, 1),
        ),
        "shifted along the batch": lambda t: (
            np.delete(t, -1, 0),
            np.delete(t, 0, 0),
        ),
        "wrapped around": lambda t: (
            t,
            np.concatenate([t[:, 1:], t[:, :1]], axis=1),
        ),
    },
    "15.2": {
        "starts at zero": from_zero,
        "no warm-up": from_start,
        "falls to zero": lambda *a: ramp(*a, floor=0.0),
        "never falls": lambda *a: ramp(*a, floor=1.0),
        "jump after the warm-up": jump,
    },
    "15.3": {
        "divides by n": lambda v: spread(v, n=5),
        "spread of one run": lambda v: spread(v, divide=lambda n: 1),
        "divided by five": lambda v: spread(v, divide=lambda n: n),
        "normal instead of t": lambda v: spread(v, t=1.96),
    },
    "15.4": {
        "multiplied": lambda x, t: boltzmann(x, 1 / t),
        "after the softmax": lambda x, t: boltzmann(x, 1) / t,
        "temperature unused": lambda x, t: boltzmann(x, 1),
    },
}
