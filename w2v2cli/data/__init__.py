"""Recordings, corpora, and names that resolve to files."""
