"""Damaged inputs, killed processes and hostile surroundings, by the thousand.

`python -m benchmarks.torture` runs all kinds of `registry.py`; see `__main__.py`.
"""
