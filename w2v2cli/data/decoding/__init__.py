"""Decoders of audio files: libsndfile for PCM and FLAC, PyAV for everything else."""
