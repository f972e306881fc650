"""Benchmarks: several ways to compute one thing, timed in one run."""
