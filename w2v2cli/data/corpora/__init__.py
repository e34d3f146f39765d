"""Corpora: where they are, and how each layout is read."""
