"""Searches in processes and threads beside the acoustic model."""
