# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Start here
#
# By the end of this page you will have read a message through noise that an
# ordinary attention map reads badly, and made one of your own.
#
# {card}
#
# ## Goals
#
# After this page you can
#
# - run a notebook and solve an exercise of this course;
# - say in one sentence what differential attention does;
# - choose your route through the chapters.
#
# ## Prerequisites
#
# Python, and nothing else for this page. The chapters also need linear
# algebra: vectors, dot products, matrix products.
#
# This page is a *notebook*. In JupyterLab, click on the grey cell below, hold
# Shift and press Enter: it runs, and the next cell is selected. Go on like that
# down the page. The number in brackets beside a cell is a star while it runs. (On
# the website cells do not run; you see what came out.)

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidiff import check, plots
from minidiff.check import hint, solution  # noqa: F401
from minidiff.reference import softmax

plots.use_style("svg")
print("It works. Go on with the next cell.")

# %% [markdown]
# ## A cold open: a message in the noise
#
# A language model looks things up. For each lookup it scores everything it
# has read, turns the scores into weights that sum to 1, and takes the
# weighted average. That is *attention*. The weights come from a *softmax*:
# each is an exponential, divided by the sum of all. So none is ever zero.
#
# Here is a game with the same rules. Each letter of a message hides among
# 200 cards, one card with the right letter and 199 with random ones. All cards
# get random scores, the *noise*, and the right card's score is raised by 3.
# Scores become weights. To read a letter we let the cards vote, each with its
# weight.

# %%
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ "


def tidy(text: str) -> str:
    """Return text in capitals; all but letters from A to Z become spaces."""
    return "".join(c if c in LETTERS else " " for c in text.upper()) or " "


# %%
def hide(message: str, shared: float = 0.95, seed: int = 0) -> tuple:
    """Hide each letter; return cards, right places, two sets of weights."""
    rng = np.random.default_rng(seed)
    rows, cards = np.arange(len(message)), 200
    letters = rng.integers(0, 27, size=(len(message), cards))
    place = rng.integers(0, cards, size=len(message))
    letters[rows, place] = [LETTERS.index(c) for c in message]
    noise, other = rng.normal(size=(2, len(message), cards))
    # For most cards (the part `shared`) both sets get the same noise.
    same = rng.random(size=noise.shape) < shared
    first, second = noise.copy(), np.where(same, noise, other)
    first[rows, place] += 3.0  # only the first set knows the right card
    return letters, place, softmax(first), softmax(second)


# %%
def read(letters: np.ndarray, weights: np.ndarray) -> str:
    """Let the cards vote, each with its weight: one letter per row."""
    votes = np.zeros((len(letters), 27))
    for row in range(len(letters)):
        np.add.at(votes[row], letters[row], weights[row])
    return "".join(LETTERS[i] for i in votes.argmax(-1))


def hits(text: str, sent: str) -> int:
    """Count the letters that are right."""
    return sum(a == b for a, b in zip(text, sent, strict=True))


# %%
message = tidy("Meet me at the station at noon")
letters, place, first, second = hide(message)
print("sent:", message)
print("read:", read(letters, first))
print(hits(read(letters, first), message), "letters of", len(message))

# %% [markdown]
# That is what one softmax makes of it. The right card is among the heaviest,
# but 199 others also vote, and some of them are loud by accident.
#
# There is a second set of weights. It never learned which card is right. All
# it shares with the first set is the noise, for 95 cards in 100. On its own it
# reads next to nothing:

# %%
print("read:", read(letters, second))

# %% [markdown]
# Look at the 200 cards of the second letter, which was read wrong, in both
# sets. The right card is orange. (The code that draws is folded; run it like
# any cell, or click on the bar to unfold it.) What would you do with these two
# pictures?

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "Two rows of 200 bars. In the first set an orange bar stands among about ten blue ones that are taller. The second set has the same blue bars, with few exceptions, and no orange bar to be seen."}}
figure, axes = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(7, 3))
row = 1 % len(message)  # the second letter
sets = {"first set": first[row], "second set": second[row]}
for axis, (name, weights) in zip(axes, sets.items(), strict=True):
    bars = axis.bar(np.arange(200), weights, width=1)
    bars[place[row]].set_color(plots.COLOURS[1])
    axis.set(title=name, ylabel="weight")
axes[-1].set_xlabel("card")
plt.show()

# %% [markdown]
# ## The idea
#
# Subtract the second set from the first. What both have in common, the
# noise, goes away. What only the first has, the letter, stays. How much to
# subtract is a number called lambda, in code `lam`.
#
# ### Exercise 0.1: subtract
#
# *Easy, 2 minutes.* Your first exercise. Below is a *stub*: a function with
# its description and no body. Write the missing line at `# your code`, run
# the cell, and run the check below it. If you get stuck, make a new cell with
# the + button and run `hint("0.1", 1)`, then 2, then 3. `solution("0.1")`
# shows one right answer. Nothing on the page breaks if you leave it out.


# %% tags=["stub:0.1"]
def subtract(first: np.ndarray, second: np.ndarray, lam: float) -> np.ndarray:
    """Return first minus lam times second.

    first and second: arrays of the same shape; lam: a number.
    """
    # your code


# %% tags=["check:0.1"]
check.ex00_1(subtract)

# %% [markdown]
# Did the check say *passed*? Then you have written the heart of the
# Differential Transformer (Ye et al., 2025), and it is kept in a file: later
# chapters build on your own functions. How many letters will be right now?
# Guess, then run the cell. (Where a page asks you to guess, the output that
# answers is folded away: run the cell, or on the website click to open
# it. The text below says it too, so guess before you read on.)

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
subtract = check.mine("0.1")
difference = subtract(first, second, 0.9)
print("sent:", message)
print("read:", read(letters, difference))
print(hits(read(letters, difference), message), "letters of", len(message))

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "One row of 200 bars, positive and negative. The orange bar stands alone; the blue bars are small, but for a few where the two sets had different noise."}}
plt.figure(figsize=(7, 1.9))
bars = plt.bar(np.arange(200), difference[row], width=1)
bars[place[row]].set_color(plots.COLOURS[1])
plt.gca().set(title="difference", xlabel="card", ylabel="weight")
plt.show()

# %% [markdown]
# The second letter again: what both sets had is gone, and the right card
# stands alone. A few cards remain where the sets had different noise.
#
# One message may be luck. Hide it 20 times, with new noise each time:


# %%
def mean_hits(lam: float, shared: float) -> float:
    """Mean number of right letters over 20 hidings."""
    counts = []
    for seed in range(20):
        letters, _, first, second = hide(message, shared, seed)
        text = read(letters, subtract(first, second, lam))
        counts.append(hits(text, message))
    return float(np.mean(counts))


for lam in (0.0, 0.9):
    print(f"lambda {lam}: {mean_hits(lam, shared=0.95):.1f} letters right")

# %% [markdown]
# ### The control that fails
#
# Does any subtraction help, whatever is subtracted? Let the second set have
# noise of its own for every card. How many letters will be right now?

# %% tags=["hide-output"] jupyter={"outputs_hidden": true}
for lam in (0.0, 0.9):
    print(f"lambda {lam}: {mean_hits(lam, shared=0.0):.1f} letters right")

# %% [markdown]
# Nothing is gained: there is nothing in common to remove.
#
# Whether a trained model really learns two sets of weights with the same noise
# is a question one can measure, and this course does.
#
# ## Yours
#
# Write your own message between the quotes. (The cards know only the capitals
# A to Z and the space. Small letters become capitals, and everything else
# becomes a space.) Then run the two cells. The second draws what each lambda
# reads, and saves the picture as `my_message.png` beside this notebook, for
# you to keep.

# %%
my_message = tidy("Attention is noisy")
letters, place, first, second = hide(my_message, shared=0.95)

# %% tags=["hide-input"] jupyter={"source_hidden": true} mystnb={"image": {"alt": "A table of lines of text: for lambda 0 the message reads as mostly wrong letters, for lambda 0.9 most letters are right; right letters are capitals, wrong ones small and orange."}}
width = max(7, len(my_message) / 4)
figure, axis = plt.subplots(figsize=(width, 2.6))
for line, lam in enumerate((0.0, 0.3, 0.6, 0.9)):
    text = read(letters, subtract(first, second, lam))
    axis.text(-1, -line, f"lambda {lam}", ha="right", family="monospace")
    for i, (got, sent) in enumerate(zip(text, my_message, strict=True)):
        colour = "black" if got == sent else plots.COLOURS[1]
        letter = got if got == sent else got.lower()
        axis.text(i, -line, letter, color=colour, family="monospace")
axis.set(xlim=(-6, len(my_message)), ylim=(-3.5, 0.8))
axis.axis("off")
plots.save_figure(figure, "my_message.png")
plt.show()

# %% [markdown]
# Capitals are right, small orange letters are wrong. Try a longer message, or
# change `shared=0.95` in the cell and see how far you can lower it until the
# message is lost.
#
# ## Where to go from here
#
# The course builds differential attention three times: in NumPy, where every
# number can be checked by hand, in PyTorch, where it can learn, and as a GPU
# kernel, where it is fast. Then you train a small language model of this kind
# beside a plain one. Every claim of the paper that small models can test is
# measured again and reported as it came out.
#
# | chapter | what you do there |
# |---|---|
# | [1. Attention from scratch](01_attention_from_scratch.ipynb) | a lookup that became soft, in NumPy |
# | [2. Attention noise, measured](02_attention_noise.ipynb) | how the one right card drowns among many, with sliders to move |
# | [3. Differential attention](03_differential_attention.ipynb) | the whole idea, in NumPy |
# | [4. The gradients by hand](04_gradients_by_hand.ipynb) | every derivative, judged by finite differences |
# | [5. The multi-head module](05_multihead_module.ipynb) | the same in PyTorch, with many heads |
# | [6. Five ways to compute it](06_five_ways_to_compute_it.ipynb) | what each costs, counted and measured |
# | [7. The DIFF Transformer](07_the_diff_transformer.ipynb) | the whole model, a class of your own |
# | [8. Pitfalls](08_pitfalls.ipynb) | what published versions get wrong |
# | [9. First kernels](09_first_kernels.ipynb) | add, softmax and multiply in Triton |
# | [10. Flash attention forward](10_flash_attention_forward.ipynb) | attention that never holds its map |
# | [11. The fused forward](11_fused_forward.ipynb) | both branches in one walk |
# | [12. The fused backward](12_fused_backward.ipynb) | every gradient, in two passes over the tiles |
# | [13. Roofline and benchmark](13_roofline_and_benchmark.ipynb) | ceilings, predictions, honest timing |
# | [14. Text to tokens](14_text_to_tokens.ipynb) | bytes, merges, AdamW, your own training loop |
# | [15. Train your own](15_training_a_small_diff_transformer.ipynb) | your model, your loop, and what it writes |
# | [16. Generation with a cache](16_generation_with_a_cache.ipynb) | what a new token reads, and how it is drawn |
# | [17. Many GPUs](17_many_gpus.ipynb) | two processes, one model, every byte counted |
# | [18. Language modelling](18_language_modelling.ipynb) | is the loss lower, and how sure is that |
# | [19. Needles and attention noise](19_needles_and_attention_noise.ipynb) | which part of a model finds the needle |
# | [20. Long context](20_long_context.ipynb) | why long rows break a model, and what repairs it |
# | [21. In-context learning and order](21_in_context_learning.ipynb) | who learns from a prompt, and what its order does |
# | [22. Faithfulness](22_faithfulness.ipynb) | where answers come from |
# | [23. Outliers and low-bit attention](23_outliers_and_low_bits.ipynb) | what large logits are for, and what they cost |
# | [24. Ablations](24_ablations.ipynb) | what each part contributes |
# | [25. Low-bit kernels](25_low_bit_kernels.ipynb) | what a difference does to rounding errors |
# | [26. Sparse caches](26_sparse_caches.ipynb) | which keys a cache can lose |
# | [27. The family](27_the_family.ipynb) | relatives of the method, and a Llama that becomes one |
#
# Which way is yours?
#
# | you | go | because |
# |---|---|---|
# | want to understand the idea and what it is worth | 1 to 5, 7, 14 to 16, then 18 on | each builds on the one before: by hand, as a module, as a model that you train, and then the evidence |
# | write fast code, or want to | 3 to 6, then 9 to 13 | 3 to 6 say what is computed and what it costs, 9 to 13 make it fast, step by step; a CPU is enough |
# | port or review an implementation | 3, 5, 8 | the formula, its shapes, and what others got wrong |
# | know attention well | begin with 3 | 1 and 2 build what you know already |
#
# If you are in doubt, take the first row.
#
# Your work is safe: this notebook is yours to change, and rebuilding the
# course (`make notebooks`) will not overwrite a notebook you have changed.
#
# ## Common mistakes
#
# - **Running cells out of order.** If something looks odd, choose *Run*,
#   *Restart Kernel and Run All Cells*.
# - **Changing the stub's first line.** The check calls your function with the
#   arguments the stub names.
# - **Reading the solution first.** Try the three hints first.
#
# ## Summary
#
# - Attention is a weighted vote, and a softmax gives every card some vote.
# - Differential attention subtracts a second set of weights, so that noise
#   that both have goes away.
# - It helps only as far as both sets have the same noise.
#
# ## Further reading
#
# - Ye et al., *Differential Transformer*, arXiv 2410.05258: the paper this
#   course is about. Later pages call it [P], as in [P, Table 3]; the
#   [bibliography](../book/bibliography.md) lists all such keys.
# - [How to read this course](../book/how_to_read.md): routes, exercises, and
#   what to do when your numbers differ.
# - [Notation](../book/notation.md) and the [glossary](../book/glossary.md),
#   to keep open beside a chapter.

# %% [markdown]
# Each chapter ends with a cell like the next one: it compares what the page
# computed with the package `minidiff`, which this course is built around. You
# need not read this one yet. Chapter 1 explains queries and keys.

# %%
from minidiff import reference

scores = np.random.default_rng(1).normal(size=(2, 5, 8))
A1, A2 = softmax(scores)
# With unit vectors as keys, a query is its scores, times the root of 8.
q1, q2 = np.sqrt(8) * scores
keys = np.eye(8)
theirs = reference.diff_map(q1, keys, q2, keys, 0.9, causal=False)
assert np.allclose(A1 - 0.9 * A2, theirs, atol=1e-12)
print("first - lam * second equals minidiff's differential attention")

# %% tags=["hide-input"] jupyter={"source_hidden": true}
message = tidy("Meet me at the station at noon")
assert mean_hits(0.9, shared=0.95) > mean_hits(0.0, shared=0.95) + 5
assert mean_hits(0.9, shared=0.0) < mean_hits(0.0, shared=0.0) + 2
