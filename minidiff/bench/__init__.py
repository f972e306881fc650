"""Benchmarks: several implementations of one function, timed in one run."""
