"""Malformed requests by the hundred, made from real ones; the whole of it: `python -m tests.hostile`."""
