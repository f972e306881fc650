# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Draft: a needle race, from chapter 07
#
# For chapter 19. After its 250 steps the plain models had not reached the line
# of guessing, so it needs more steps, more seeds, and a control.

# %%
import matplotlib.pyplot as plt
import torch
from torch import Tensor
from tqdm import tqdm

from minidiff import DecoderLM, ModelConfig, plots
from minidiff.data import NeedleTask

plots.use_style()


# %%
def new_model(kind: str, V: int, E: int, L: int, seed: int = 0) -> DecoderLM:
    """An untrained model with 4 plain or 2 differential heads."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": V, "embed_dim": E, "num_layers": L}
    return DecoderLM(ModelConfig(**sizes, num_heads=4, attention=kind))


# %% [markdown]
# ## A needle race
#
# Two *needles* hide in a row of random tokens, each a key with its value
# behind it. At the end both keys come again, and the model must say the
# values.

# %%
TASK = {"needles": 2, "questions": 2, "repeats": False, "length": 32}
row = NeedleTask(**TASK).sample(step=0, batch_size=1)
names = [f"{x}{n}" for x in "kv" for n in range(64)] + 128 * ["."]
print(*(names[n] for n in row.inputs[0]), "->", names[row.targets[0, -1]])

# %% [markdown]
# Watch the *second* answer. No needle is
# asked twice, so it can be found without reading a key: it is the value *not
# said yet*. Take both values, less the one just said. Guessing between the two
# is right half the time. The difference of two maps can give a value a
# negative weight; plain attention needs two heads and its output matrix to
# subtract. Which kind will learn it sooner?

# %% tags=["parameters"] quick={"STEPS": 25, "SEEDS": [0]}
STEPS = 250
SEEDS = [0, 1]


# %%
def right(model: DecoderLM) -> Tensor:
    """Share of right first and second answers, on rows not trained on."""
    batch = NeedleTask(**TASK).sample(100, 256, "valid")
    with torch.no_grad():
        said = model(batch.inputs)[:, batch.questions].argmax(-1)
    return (said == batch.targets[:, batch.questions]).float().mean(0)


# %% [markdown]
# Both kinds get the same rows. All four runs take about half a minute.


# %%
def race(kind: str, seed: int) -> Tensor:
    """Train a model: its shares of right answers every 25 steps."""
    model = new_model(kind, V=256, E=64, L=2, seed=seed)
    rows, shares = NeedleTask(**TASK, seed=seed), [right(model)]
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95))
    for step in tqdm(range(STEPS), desc=f"{kind}, seed {seed}"):
        rate = 3e-3 * min((step + 1) / 50, 1 - step / STEPS)
        optimizer.param_groups[0]["lr"] = rate
        loss = model.loss(*rows.batch(step, batch_size=32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 25 == 0:
            shares.append(right(model))
    return torch.stack(shares)


# %% tags=["nbval-ignore-output"]
runs = {}  # kind: (seeds, measurements, 2)
for kind in ("softmax", "diff"):
    runs[kind] = torch.stack([race(kind, seed) for seed in SEEDS])
    for seed, (first, second) in zip(SEEDS, runs[kind][:, -1], strict=True):
        print(f"{kind:8s} seed {seed}: first {first:.2f} second {second:.2f}")

# %%
axis = plt.gca()
for kind, name in (("softmax", "plain"), ("diff", "differential")):
    share = runs[kind][:, :, 1].numpy()
    steps = 25 * torch.arange(share.shape[1]).numpy()
    plots.curves_with_band(axis, steps, share, name)
axis.axhline(0.5, color="grey", linestyle=":")
axis.set(xlabel="step", ylabel="second answers right", ylim=(0, 1.05))
axis.legend()
plt.show()
