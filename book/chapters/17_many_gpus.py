# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 17. Many GPUs
#
# By the end of this chapter you will have shown, with processes that you
# start yourself, that two of them, each with half of every batch, train the
# very model of one; and you will have counted every number they exchange for
# it, with all weights in each process and with a share in each.
#
# {card}
#
# ## Goals
#
# After this chapter you can
#
# - start two processes with torchrun and compare their run with one;
# - weigh gradients so that their mean is the gradient of the whole batch;
# - build an all-reduce from messages to a neighbour, and count its bytes;
# - say what a sharded training holds, gathers and sends;
# - tell from two speeds whether a link holds the training up.
#
# ## Prerequisites
#
# | you need | for | where |
# |---|---|---|
# | gradients of means | what is exchanged | chapter 4 |
# | differential heads, headwise norm | what may be split | chapter 3 |
# | modules, parameters | what is shared out | chapter 5 |
# | the training loop; needles | what is trained | chapters 14 and 7 |
#
# No GPU is needed: two processes tell each other the same things on two GPUs
# and on two cores of a laptop. Part III is not needed either.

# %%
import inspect
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

# %%
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from minidiff import Compute, DecoderLM, ModelConfig, TrainConfig
from minidiff import check, course, plots, train
from minidiff.check import hint, solution  # noqa: F401
from minidiff.data import ByteTokenizer, NeedleTask, TextData
from minidiff.data.mixture import Mixture, Part
from minidiff.data.protocol import IGNORE
from minidiff.nn.config import count_parameters
from minidiff.reference import headwise_norm
from minidiff.training.distributed import World, total, world
from minidiff.training.step import Updates

# %%
plots.use_style("svg")
if not torch.distributed.is_available():
    raise RuntimeError(
        "this chapter starts two processes that talk, and this PyTorch was "
        "built without torch.distributed: install one from pytorch.org"
    )

# %% [markdown]
# ## A cold open: two who do not talk
#
# A batch has 8 rows, and two processes take 4 each. They run the same program
# with the same seed, so they begin with the same weights. Each makes 12 steps
# of plain gradient descent. Do they end with one model?
#
# Some rows are text, the others needles in noise: a mixture from
# `minidiff.data`.


# %%
def new_model() -> DecoderLM:
    """A small differential model, the same in every process."""
    torch.manual_seed(0)
    # 256 ids are bytes of text, the others belong to the needles.
    sizes = {"vocab_size": 512, "embed_dim": 32, "num_layers": 2}
    return DecoderLM(ModelConfig(**sizes, num_heads=4, max_length=32))


def new_data() -> Mixture:
    """Rows of 32 tokens, of text or of needles."""
    source = Path(textwrap.__file__).read_text(encoding="utf-8")
    ids = ByteTokenizer().encode(source)
    text = TextData(ids, ids, vocab_size=256, length=32)
    return Mixture(text, needles=Part(NeedleTask(length=32), share=0.5))


# %% [markdown]
# `world()` says who a process is: its number, the *rank*, and how many there
# are, the *world size* $W$. Its rows of a batch follow from that.


# %%
def own(
    model: DecoderLM, data: Mixture, step: int, me: World | None = None
) -> torch.Tensor:
    """Leave the gradient of my rows in the model; return how many count."""
    rows = (me or world()).rows(8)
    inputs, targets = data.batch(step, 8, rows=rows)
    model.zero_grad()
    model.loss(inputs, targets).backward()
    return (targets != IGNORE).sum().double()


# %%
def by_hand(gradient: Callable, optimizer: str = "SGD") -> list[float]:
    """The loss on shared rows after each of 12 steps."""
    model, data = new_model().double(), new_data()
    lr = {"SGD": 0.1, "AdamW": 0.003}[optimizer]
    weights = getattr(torch.optim, optimizer)(model.parameters(), lr)
    losses = []
    for step in range(12):
        gradient(model, data, step)  # leaves one in the model, like own
        weights.step()
        with torch.no_grad():
            loss = model.loss(*data.batch(0, 8, "valid"))
        losses.append(loss.item())
    return losses


# %% [markdown]
# The notebook is one process. For two, these functions must stand in a file,
# between the lines below. `joined` connects the processes and parts them at
# the end.

# %%
BEGIN = """
from __future__ import annotations
import json, sys, textwrap, torch
from contextlib import suppress
from pathlib import Path
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.utils._python_dispatch import TorchDispatchMode
from minidiff import Compute, DecoderLM, ModelConfig, TrainConfig, train
from minidiff.data import ByteTokenizer, NeedleTask, TextData
from minidiff.data.mixture import Mixture, Part
from minidiff.data.protocol import IGNORE
from minidiff.training.distributed import World, joined, total, world
from minidiff.training.step import Updates
"""

# %%
END = """
with joined(torch.device("cpu")):
    result = {name}(*sys.argv[1:])
    file = Path(__file__).with_name(f"{{world().rank}}.json")
    file.write_text(json.dumps(result))
"""

# %% [markdown]
# PyTorch's `torchrun` starts a file as often as we like and tells each process
# its rank. They find each other at 127.0.0.1, the computer itself, and talk
# through *gloo*, a library for CPUs (NVIDIA GPUs have *NCCL*).

# %%
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
TORCHRUN += ["--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
for _, name in socket.if_nameindex():
    if name in ("lo", "lo0"):  # the loopback, on Linux and on macOS
        ENVIRONMENT["GLOO_SOCKET_IFNAME"] = name


# %%
def start(run: Callable, *uses: Callable, given: tuple = ()) -> list:
    """What a function that uses others returned in each of two processes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "program.py")
        source = [inspect.getsource(f) for f in (*uses, run)]
        end = END.format(name=run.__name__)
        file.write_text("\n\n".join([BEGIN, *source, end]), encoding="utf-8")
        command = [*TORCHRUN, str(file), *given]
        pipes = {"capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(command, env=ENVIRONMENT, **pipes)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        results = (Path(folder, f"{rank}.json") for rank in range(2))
        return [json.loads(result.read_text()) for result in results]


# %% [markdown]
# Make your guess, then start them. It takes some seconds, mostly for
# importing PyTorch.


# %% tags=["nbval-ignore-output", "hide-output"] jupyter={"outputs_hidden": true} mystnb={"image": {"alt": "Loss on the shared rows against step for process 0, process 1 and one process with all rows: three curves that all come down, differ from the first step on, and end apart."}}
def alone() -> list[float]:
    """Train without a word."""
    return by_hand(own)


PARTS = (new_model, new_data, own, by_hand)
one, two = by_hand(own), start(alone, *PARTS)
names = ("process 0", "process 1", "one process, all rows")
for losses, name in zip((*two, one), names, strict=True):
    plt.plot(range(1, 13), losses, label=name)
plt.gca().set(xlabel="step", ylabel="loss, nats")
plt.legend()
plt.show()

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for at in zip(*two, one, strict=True):
    assert len({round(loss, 6) for loss in at}) == 3

# %% [markdown]
# Three different models, from the first step on. Two processes that do not
# talk are two trainings on half of the rows. The gradient is the one thing in
# which they differ: give them equal gradients, and equal weights stay equal.
#
# ## The gradient of a mean
#
# So average the two gradients. Try it with a pencil first. A model has a single
# weight $w$, now 0, and the loss of a target $t$ is $(w - t)^2 / 2$, so its
# gradient is $w - t$. Process 0 holds the targets 2, 4 and 6, process 1 holds
# 12. Each takes the mean over its own, then they take the mean of the two. Is
# that the gradient of the mean over all four?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
held = [np.array([2.0, 4.0, 6.0]), np.array([12.0])]
means = [np.mean(0 - t) for t in held]
everything = np.mean(0 - np.concatenate(held))
print("means", *means, " mean of means", np.mean(means))
print("mean over all four", everything)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.mean(means) == -8 and everything == -6

# %% [markdown]
# It is not: the one target of process 1 weighs as much as three others. Let
# $g_r$ be the mean gradient over the $n_r$ targets that count in process $r$,
# and $n$ their number in all. The mean over everything is
#
# $$
# g = \sum_{r=0}^{W-1} \frac{n_r}{n}\, g_r
# \tag{17.1}
# $$
#
# In our mixture that matters: all 32 positions of a text row count, and only
# one of a needle row.
#
# ### Exercise 17.1: what to multiply by
#
# *Easy, 5 minutes.* Libraries take the plain mean of the processes' gradients.
# So each process must multiply its own loss by a factor first. Which one?


# %% tags=["stub:17.1"]
def factor(counts: list[int], rank: int) -> float:
    """Return what the process `rank` multiplies its own mean loss by.

    counts: targets that count, 1 or more, in each process's rows. The plain
    mean over the processes' gradients must then be the gradient of the mean
    over all targets.
    """
    # your code


# %% tags=["check:17.1"]
check.ex17_1(factor)

# %% [markdown]
# Now talk. `total` adds up a tensor over all processes, and each gets the sum,
# in the same tensor. We send all gradients as one vector of $N$ numbers, one
# for each parameter.


# %%
def average(model: DecoderLM, times: torch.Tensor | float = 1.0) -> None:
    """Put the mean of everyone's gradient, multiplied, into the model."""
    gradients = [p.grad for p in model.parameters()]
    vector = parameters_to_vector(gradients) * times
    vector_to_parameters(total(vector) / world().size, gradients)


def plain_mean(model: DecoderLM, data: Mixture, step: int) -> None:
    """Average the processes' means."""
    own(model, data, step)
    average(model)


# %%
def weighted_mean(model: DecoderLM, data: Mixture, step: int) -> None:
    """Equation 17.1."""
    n = own(model, data, step)
    average(model, world().size * n / total(n.clone()))


# %% [markdown]
# ### Controls that fail
#
# Two more ways, both wrong and both easy to write. In `summed` somebody forgot
# to divide by $W$. In `same_rows` each process takes itself for number 0, as
# happens where the rank does not reach the data.


# %%
def summed(model: DecoderLM, data: Mixture, step: int) -> None:
    """Equation 17.1, but W times as large."""
    n = own(model, data, step)
    average(model, world().size ** 2 * n / total(n.clone()))


def same_rows(model: DecoderLM, data: Mixture, step: int) -> None:
    """Average, but everyone has read the rows of process 0."""
    own(model, data, step, World(0, world().size))
    average(model)


# %% [markdown]
# Before you run it, fill in a table with a pencil. For each of the four ways:
# do the two processes have the same losses? And are these the losses of one
# process?


# %%
def all_ways() -> dict[str, list[float]]:
    """Train in each way; once more with AdamW."""
    ways = (plain_mean, weighted_mean, summed, same_rows)
    losses = {way.__name__: by_hand(way) for way in ways}
    return losses | {"AdamW": by_hand(summed, "AdamW")}


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
WAYS = (average, plain_mean, weighted_mean, summed, same_rows)
zero, other = start(all_ways, *PARTS, *WAYS)
print("way            both agree   as one process")
for way in WAYS[1:]:
    mine, yours = zero[way.__name__], other[way.__name__]
    agree, right = np.allclose(mine, yours), np.allclose(mine, one, rtol=1e-9)
    print(f"{way.__name__:14s} {agree!s:12s} {right}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
for way in WAYS[1:]:
    mine, yours = zero[way.__name__], other[way.__name__]
    assert np.allclose(mine, yours) and mine[-1] < mine[0]
    assert np.allclose(mine, one, rtol=1e-9) == (way is weighted_mean)

# %% [markdown]
# All agree with each other, and that proves nothing: they share one gradient,
# right or wrong. Only the comparison with one process tells. None of the wrong
# ways crashes, and each of them learns.
#
# Now the fifth run: `summed` once more, with AdamW. How far will its losses be
# from those of one process with AdamW?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
adam = by_hand(own, "AdamW")
gap = np.max(np.abs(np.array(zero["AdamW"]) / adam - 1))
sgd_gap = np.max(np.abs(np.array(zero["summed"]) / one - 1))
for name, off in (("plain descent", sgd_gap), ("AdamW", gap)):
    print(f"gradient twice too large, {name:14s} losses off by {off:.2%}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert gap < 1e-4 < 0.05 < sgd_gap

# %% [markdown]
# AdamW divides a gradient by its own size, so a factor all but vanishes. (Not
# where gradients are clipped first: too large ones are clipped too often.) A
# right loss curve is a weak test, so `minidiff` logs the size of the gradient
# beside it.
#
# ## All-reduce: a sum that everyone gets
#
# What does `total` cost? The obvious way: all send their vector to process 0,
# which adds them up and sends the sum back, $W - 1$ vectors in and as many
# out, while the others wait.
#
# A *ring* does better. Each process cuts its vector in $W$ chunks, and sends
# only to its right neighbour, the last one to the first:
#
# - Round 0: process $w$ sends its chunk $w$, and the neighbour adds it to its
#   own chunk $w$.
# - In each later round everyone passes on the chunk it has just added to.
# - After $W - 1$ rounds each process has one chunk that is summed over all.
#   This half is called *reduce-scatter*.
# - In $W - 1$ more rounds the finished chunks go round and replace what is
#   there: the *all-gather*.
#
# Three processes with three chunks of one number: 1, 2, 4 in process 0, then
# 10, 20, 40, then 100, 200, 400. In which process does 111 appear first?
#
# ### Exercise 17.2: one round of the ring
#
# *Medium, 10 minutes.*


# %% tags=["stub:17.2"]
def ring_round(chunks: np.ndarray, r: int) -> np.ndarray:
    """Return everyone's chunks after round r, 0 to W - 2, of the first half.

    chunks (W, W, n): processes, chunks, numbers, before that round. All send
    one chunk at the same time to the right; the sender keeps its own copy.
    """
    # your code


# %% tags=["check:17.2"]
check.ex17_2(ring_round)

# %% [markdown]
# The whole ring: what everyone holds at the start and after each round.


# %%
def ring_all_reduce(chunks: np.ndarray) -> list[np.ndarray]:
    """All states of an all-reduce of chunks (W, W, n), by a ring."""
    states, W = [chunks], len(chunks)
    me = np.arange(W)
    right = (me + 1) % W
    for r in range(2 * (W - 1)):
        c = (me - r) % W  # the chunk that each process sends
        new = states[-1].copy()
        new[right, c] = states[-1][me, c]
        if r < W - 1:
            new[right, c] += states[-1][right, c]
        states.append(new)
    return states


# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
small = np.array([[1, 2, 4], [10, 20, 40], [100, 200, 400]])
for state in ring_all_reduce(small[:, :, None]):
    print(*(list(map(int, chunks)) for chunks in state[:, :, 0]))
assert (state[:, :, 0] == [111, 222, 444]).all()

# %% [markdown]
# In process 2, as $100 + (1 + 10)$. In each round all links are busy, with one
# chunk each. So of $N$ numbers each process sends
#
# $$
# 2\,(W - 1) \cdot \frac{N}{W} = 2\,\frac{W - 1}{W}\, N
# \tag{17.2}
# $$
#
# For two processes that is $N$. And for 64?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rng = np.random.default_rng(0)
for W in (2, 4, 8, 64):
    chunks = rng.integers(0, 9, (W, W, 640 // W))
    *rounds, after = ring_all_reduce(chunks)
    assert (after == chunks.sum(0)).all()
    sent = len(rounds) * 640 // W
    assert sent == 2 * (W - 1) * 640 // W
    print(f"{W:2d} processes: each sends {sent / 640:.2f} N")

# %% [markdown]
# Less than twice as much for 32 times as many processes.
#
# ## A share of everything
#
# So far we have trained *data parallel*, as PyTorch's DistributedDataParallel
# (DDP) does: all weights in each process, gradients averaged. What does a
# process hold? For each parameter a weight, its gradient, and AdamW's two
# running means, 4 bytes each. With the sizes of the paper's 3B model
# [P, Table 9]:

# %%
sizes = {"vocab_size": 100_288, "embed_dim": 3072, "num_layers": 28}
large = ModelConfig(**sizes, num_heads=24, attention="diff")
N = count_parameters(large)
print(
    f"{N / 1e9:.2f} billion parameters, 16 bytes each: {16 * N / 1e9:.1f} GB"
)
for W in (8, 64):
    print(f"a share of {W}: {16 * N / W / 1e9:.1f} GB")

# %% [markdown]
# With DDP, 64 GPUs hold the same numbers 64 times. *Fully sharded* data parallel
# training (FSDP, or ZeRO) leaves each process a $W$-th of every tensor: of
# weights, gradients and running means. Each updates its own share. But to
# compute with a layer one needs the whole of it. So, layer by layer:
#
# 1. Forward: *all-gather* its weights, compute, drop them.
# 2. Backward: all-gather them again, compute, drop them.
# 3. Then *reduce-scatter* the gradients: each gets the sum for its share.
#
# These are the two halves of our ring. Each sends $(W - 1)/W$ of what is
# gathered or scattered, and an all-reduce is one of both.
#
# One more saving: a process may compute its rows in $m$ *parts*, one after the
# other, and add up the gradients (`accumulate` in `minidiff`). These are then
# exchanged once, after the last part; until then FSDP, too, holds them whole.
# Weights that were dropped are gathered again in every part.
#
# ### Exercise 17.3: bytes sent in a step
#
# *Medium, 10 minutes.* Count halves of a ring.


# %% tags=["stub:17.3"]
def bytes_sent(kind: str, W: int, N: int, m: int) -> float:
    """Return the bytes that each process sends for one step.

    kind: "ddp" or "fsdp". W processes, N parameters of 4 bytes, as are
    their gradients. Every process computes its rows in m parts.
    """
    # your code


# %% tags=["check:17.3"]
check.ex17_3(bytes_sent)

# %% mystnb={"image": {"alt": "Numbers sent by the busiest process per step, in whole gradients, against 2 to 64 processes, both axes logarithmic. By way of process 0 it grows from 1 to 63. The ring levels off at 2, FSDP in one part at 3, FSDP in four parts at 9."}}
W = 2 ** np.arange(1, 7)
for name, times in (
    ("by way of process 0", W - 1),
    ("DDP, by a ring", 2 * (W - 1) / W),
    ("FSDP, one part", 3 * (W - 1) / W),
    ("FSDP, four parts", 9 * (W - 1) / W),
):
    plt.loglog(W, times, label=name, base=2)
plt.xlabel("processes")
plt.ylabel("busiest sends, in whole gradients")
plt.xticks(W, W)
plt.yticks([1, *W], [1, *W])
plt.legend()
plt.show()

# %% [markdown]
# In one part FSDP sends half as much again as DDP, and holds a $W$-th. While
# everything fits, DDP is the better bargain. Where it does not, FSDP makes the
# training possible.
#
# ## The package, counted
#
# `minidiff` does both by PyTorch's own modules. The file to read is
# `minidiff/training/step.py`; find the factor of exercise 17.1 in it. From the
# command line:
#
# ```
# torchrun --standalone --nproc-per-node 2 -m minidiff train \
#     --data needles --parallel fsdp --out runs/two
# ```
#
# Are our formulas true of it? All that processes exchange passes PyTorch's
# dispatcher, the desk to which every operation is handed. We stand beside it
# with a pencil.


# %%
def watch() -> tuple[TorchDispatchMode, list]:
    """A context that notes each exchange: what, and the largest tensor."""
    notes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, f, types, args=(), kwargs=None):
            leaves = torch.utils._pytree.tree_leaves(args)
            sizes = [x.numel() for x in leaves if torch.is_tensor(x)]
            if f.namespace == "c10d":  # what processes exchange
                notes.append((str(f), max(sizes, default=0)))
            return f(*args, **(kwargs or {}))

    return Watch(), notes


# %%
def holds(model: DecoderLM, optimizer: torch.optim.AdamW) -> int:
    """Numbers in this process: weights, gradients, running means."""
    tensors = [t for p in model.parameters() for t in (p, p.grad)]
    for state in optimizer.state.values():
        tensors += [state["exp_avg"], state["exp_avg_sq"]]
    shares = (t.to_local() if hasattr(t, "to_local") else t for t in tensors)
    return sum(share.numel() for share in shares)


# %%
def settings() -> TrainConfig:
    """The same in every run."""
    sizes = {"steps": 20, "batch_size": 8, "checkpoint_every": 10}
    return TrainConfig(**sizes, warmup_steps=4)


# %%
def counted(kind: str) -> dict:
    """One kind of training, in two parts: exchanges, memory, log."""
    how, model = Compute(parallel=kind, accumulate=2), new_model()
    updates, (watcher, notes) = Updates(model, settings(), how), watch()
    with watcher:
        updates(new_data(), 0)
    held = holds(model, updates.optimizer)
    data = new_data()
    log = train(new_model(), data, settings(), compute=how, progress=False)
    return {"notes": notes, "held": held, "log": log}


# %% [markdown]
# The same start shall answer another question: is a checkpoint of two processes
# worth anything to one? Two train with shares into a folder, and before step 13
# the power fails.


# %%
def until_power_fails(folder: str) -> None:
    """Train with a checkpoint after 10 steps, and break off after 13."""
    data = new_data()
    whole = data.batch

    def batch(step: int, *rest: object) -> tuple:
        if step == 13:
            raise EOFError
        return whole(step, *rest)

    data.batch, how = batch, Compute(parallel="fsdp")
    with suppress(EOFError):
        train(new_model(), data, settings(), compute=how, run_dir=folder)


# %% tags=["nbval-ignore-output"]
def package(folder: str) -> dict:
    """Break a run off, and count both kinds."""
    until_power_fails(folder)
    return {kind: counted(kind) for kind in ("ddp", "fsdp")}


USES = (new_model, new_data, settings, watch, holds, counted)
folder = tempfile.TemporaryDirectory()
run = Path(folder.name, "run")
found, _ = start(package, *USES, until_power_fails, given=(str(run),))
for kind in found:
    for name, size in found[kind]["notes"]:
        if size > 1 and "broadcast" not in name:
            print(f"{kind:5s}{name.split('.')[1]:22s}{size:6d} numbers")

# %% [markdown]
# (Left out: single numbers, such as losses, and broadcasts, by which process 0
# tells the others constants.) DDP exchanges gradients once, after the second
# part. FSDP gathers in each part the outermost tensors and two layers, forward
# and then backward; after the second part there is a reduce-scatter for each.
#
# One thing is better than in exercise 17.3. The outermost tensors, embedding and
# last norm, end the forward pass and begin the backward. PyTorch keeps them
# between, so they are gathered once a part.

# %%
N = new_model().num_parameters()
layers = sum(p.numel() for p in new_model().blocks.parameters())


def numbers(kind: str, word: str) -> int:
    """Numbers in exchanges of this name, those of one number left out."""
    notes = found[kind]["notes"]
    return sum(size for name, size in notes if word in name and size > 1)


assert numbers("ddp", "allreduce") == numbers("fsdp", "reduce_scatter") == N
assert numbers("fsdp", "allgather") == 2 * (2 * layers + (N - layers))
for kind in found:
    print(f"{kind:4s} holds {found[kind]['held'] / N:.0f} N in each process")
assert found["ddp"]["held"] == 4 * N and found["fsdp"]["held"] == 2 * N

# %% [markdown]
# Four numbers a parameter with DDP (and a second copy of the gradients that we
# did not count, in the order in which DDP sends them). With FSDP and $W = 2$
# it is half.
#
# ### The losses of one process
#
# And the training is the same: one process, in float32, against the logs of two,
# loss and gradient size.


# %%
def same(log: list[dict], other: list[dict]) -> bool:
    """Whether losses and sizes of gradients agree to 1e-5 in each step."""
    a, b = ([(r["loss"], r["grad_norm"]) for r in x] for x in (log, other))
    return np.allclose(a, b, rtol=1e-5, atol=0)


single = train(new_model(), new_data(), settings(), progress=False)
for kind in found:
    assert same(found[kind]["log"], single)
    print(f"{kind}: two processes as one, to 1e-5, in {len(single)} steps")

# %% [markdown]
# ### After the power failure
#
# In the folder lies the checkpoint of step 10, which process 0 wrote from
# everyone's shares: whole tensors, by the same names, whoever trained. The log
# is never behind it. So one process can go on.

# %%
left = (run / "log.jsonl").read_text().splitlines()
how = {"run_dir": run, "resume": True, "progress": False}
resumed = train(new_model(), new_data(), settings(), **how)
folder.cleanup()
assert len(left) >= 10 and same(resumed, single)
print("10 steps by two processes, resumed by one: the same run")

# %% [markdown]
# ## When the link is slower than the step
#
# With more processes each has fewer rows and computes for a shorter time. The
# exchange does not get shorter. When is it the longer of the two?
#
# First the computing. In the forward pass a token costs a multiplication and an
# addition for each weight. In the backward pass there are two such products, for
# the gradient of the weight and for that of its input. Together 6 operations
# for each parameter and token. PyTorch can count them:

# %%
config = ModelConfig(embed_dim=256, num_layers=2, num_heads=4, max_length=32)
model, tokens = DecoderLM(config), torch.zeros(8, 32, dtype=torch.int64)
with FlopCounterMode(display=False) as counter:
    model.loss(tokens, tokens).backward()
operations = counter.get_total_flops()
ratio = operations / (6 * model.num_parameters() * tokens.numel())
print(f"counted, in 6 N tokens: {ratio:.2f}")
assert 1 < ratio < 1.1

# %% [markdown]
# (The rest is attention itself; its share grows with the length.)
#
# ### Exercise 17.4: enough tokens
#
# *Medium, 10 minutes.* A device makes $f$ operations a second, and its link
# sends $b$ bytes a second. Guess first: does a larger model need more tokens?


# %% tags=["stub:17.4"]
def tokens_each(N: int, W: int, f: float, b: float) -> float:
    """Return the tokens each process needs for an equal time of both.

    Computing (6 operations a parameter and token, f a second) then takes as
    long as the all-reduce of N gradients of 4 bytes by a ring of W (each
    sends b bytes a second).
    """
    # your code


# %% tags=["check:17.4"]
check.ex17_4(tokens_each)

# %% [markdown]
# The size of the model drops out: twice as large is twice the work and twice the
# gradient. What is left is the ratio of two speeds,
# $\frac{4}{3} \frac{W - 1}{W} \frac{f}{b}$. For an imagined pair with $10^{14}$
# operations and $10^{10}$ bytes a second:

# %%
print(f"{4 / 3 * (1 / 2) * 1e14 / 1e10:.0f} tokens for each process")

# %% [markdown]
# These only make both times equal. PyTorch sends gradients of late layers while
# early ones are still being computed, so that at best one waits for the longer
# time alone. What helps is more tokens between two exchanges: longer rows, more
# rows, or, with DDP, more rows in more parts.
#
# And on real ones? `book/recipes/two_gpus.py` trained one model on one H200 and
# on two of the same machine, with the same batch, so that each of two has half
# of the rows. Guess before you look: how many times as many tokens a second,
# with DDP and with FSDP?

# %% tags=["hide-input", "hide-output"] jupyter={"source_hidden": true, "outputs_hidden": true}
measured = json.loads(course.results("two_gpus.json").read_text())
speeds = [row for row in measured["rows"] if row["what"] == "speed"]
alone = speeds[0]["tokens_per_s"]
print(f"{speeds[0]['parameters'] / 1e6:.0f} million parameters,", end=" ")
print(f"{speeds[0]['tokens_an_update']} tokens an update")
for row in speeds:
    name = row["parallel"] if row["processes"] == 2 else ""
    print(f"{row['processes']} GPU(s) {name:5s}", end="")
    speed = row["tokens_per_s"]
    print(f"{speed / 1e3:5.0f} thousand tokens a second,", end=" ")
    print(f"{speed / alone:.2f} times")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
ddp, fsdp = (row["tokens_per_s"] / alone for row in speeds[1:])
assert [r["parallel"] for r in speeds] == ["ddp", "ddp", "fsdp"]
assert 1.2 < ddp < 1.4 and 0.8 < fsdp < 0.95

# %% [markdown]
# DDP on two GPUs is faster than one, but far from twice as fast, and FSDP is
# slower than one. Why was not measured. FSDP sends the weights as well, in every
# update; it is meant for models that do not fit on one GPU. And AdamW, the
# drawing of the batch and the starting of kernels do not get shorter with two.
# (The model is not compiled here. Whether two GPUs give the losses of one is not
# recorded yet; two processes on a CPU do, above.)
#
# ## What differential attention changes
#
# For all of this, next to nothing: $6D$ parameters a layer more to hold and to
# exchange, four lambda vectors of $D$ and the norm's weight of $2D$.

# %%
extra = 6 * large.head_dim * large.num_layers
plain = ModelConfig(**sizes, num_heads=24, attention="softmax")
assert count_parameters(large) - count_parameters(plain) == extra
print(f"{extra} of {count_parameters(large):,}")

# %% [markdown]
# It matters where a layer itself is split. In *tensor parallel* training each
# device has some of the heads, and the rows of $W_O$ that belong to them. Each
# makes its part of the output, and an all-reduce of $T \times E$ numbers adds
# them up. That works with whole differential heads.
#
# Now suppose that a device gets branch 1 of all heads and the other branch 2, as
# from a tool that counts plain heads and splits them in the middle. Each has
# its own $A_i V$. May it go on with norm and $W_O$, and leave the subtraction to
# the all-reduce?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
rng, lam = np.random.default_rng(0), 0.5
o1, o2 = rng.normal(size=(2, 2, 6, 8))  # A1 V and A2 V: (H, T, 2D) each
W_O = rng.normal(size=(2, 8, 16))  # its rows by heads: (H, 2D, E)
first, second = headwise_norm(o1 - lam * o2)  # whole heads on two devices
layer = np.concatenate([first, second], axis=1) @ W_O.reshape(16, 16)
heads = first @ W_O[0] + second @ W_O[1]

branch1, branch2 = headwise_norm(o1), -lam * headwise_norm(o2)
branches = ((branch1 + branch2) @ W_O).sum(0)
for name, out in (("heads", heads), ("branches", branches)):
    print(f"split by {name:8s} differs by {np.abs(out - layer).max():.1f}")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
assert np.allclose(heads, layer) and np.abs(branches - layer).max() > 0.1

# %% [markdown]
# It may not: the norm needs the difference. The devices would have to add up
# $A_1 V$ and $-\lambda A_2 V$ first, $H$ heads of $2D$, again $T \times E$
# numbers: one more all-reduce in each layer, as large as the one after $W_O$. A
# pair must stay together.
#
# ## The package agrees
#
# Rows, factor and exchanges of this chapter, held against `minidiff` and what
# two of its processes did.

# %%
assert World(1, 2).rows(8) == slice(4, 8) and world() == World(0, 1)
counts = np.array([3, 1])
assert np.mean(2 * counts / 4 * np.array(means)) == everything
# Two processes, two parts: (W - 1) / W is a half, and 4 bytes a number.
ddp = 4 / 2 * 2 * numbers("ddp", "allreduce")
fsdp = 4 / 2 * (numbers("fsdp", "allgather") + N)
assert ddp == 2 * 4 / 2 * N
assert fsdp == (2 * 2 + 1) * 4 / 2 * N - 4 * (N - layers)
print("factor, exchanges and losses are those of minidiff")

# %% [markdown]
# ## Common mistakes
#
# - **Means of unequal parts averaged.** The loss looks fine and is another one.
# - **The same rows for everyone**, from random numbers with one seed. All
#   processes agree, and half of the data is never read.
# - **Another seed for the weights of each.** DDP copies those of process 0 at
#   the start; by hand and with shares nobody does.
# - **Something that one process does alone.** An exchange waits for all. If one
#   skips it, the others wait until they are killed.
# - **More processes and a larger batch.** That is another training, no longer to
#   be compared with one process.
#
# ## Summary
#
# - The gradient of a batch is the mean of the parts' gradients, weighted by the
#   targets that count.
# - That processes agree proves nothing. The losses of one process do.
# - By a ring an all-reduce costs each process $2 (W - 1)/W$ of the gradient:
#   less than two gradients, however many they are.
# - With AdamW a parameter takes 16 bytes, in each process of DDP. FSDP divides
#   that by $W$ and gathers weights twice in every part.
# - Whether a link holds the training up depends on the tokens of each process,
#   and not on the size of the model.
# - DIFF changes none of it, as long as pairs stay together.
#
# ## Further reading
#
# - Li and others, *PyTorch Distributed*, arXiv 2006.15704: how DDP sends
#   gradients while others are being computed.
# - Zhao and others, *PyTorch FSDP*, arXiv 2304.11277, and Rajbhandari and others,
#   *ZeRO*, arXiv 1910.02054: what may be shared out, and what it costs.
# - Patarasuk and Yuan, *Bandwidth Optimal All-reduce Algorithms for Clusters of
#   Workstations*, 2009: why no way sends less than a ring.
# - Shoeybi and others, *Megatron-LM*, arXiv 1909.08053: heads and feed-forward
#   layers split over devices.
