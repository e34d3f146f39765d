"""The experiments of the wav2vec 2.0 paper in miniature; see `__main__.py`."""
