"""Processes that are killed, starved, cut off, or asked for too much."""
