"""Benchmarks, run by hand: `python -m tests.bench.NAME`. Figures are ratios against a baseline in the same run."""
