"""Bayesian tuning of the decoding weights."""
