"""wav2vec 2.0 as a library."""
