"""The acoustic model: waveforms in, tensors out."""
