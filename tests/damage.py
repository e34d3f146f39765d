"""Damage to files, drawn by chance: that of the fuzzing script."""

from scripts.fuzz_caches import mutated

__all__ = ["mutated"]
