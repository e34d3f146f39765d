"""Checkpoints of other programs: read as data, never as code."""
