"""Damaged inputs: recordings, checkpoints, texts, archives and caches, each mutated by a seed."""
