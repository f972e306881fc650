"""Chapter 21: prompts, guesses, orders, and what chance does."""

from minidiff.check.ex21 import guess, orders, prompt, shuffled

EXERCISES = (
    prompt.EXERCISE,
    guess.EXERCISE,
    orders.EXERCISE,
    shuffled.EXERCISE,
)
