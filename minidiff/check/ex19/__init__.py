"""Chapter 19: needles, lotteries and maps, measured."""

from minidiff.check.ex19 import fisher, harder, queries, ranks, shares

EXERCISES = (
    queries.EXERCISE,
    fisher.EXERCISE,
    ranks.EXERCISE,
    shares.EXERCISE,
    harder.EXERCISE,
)
