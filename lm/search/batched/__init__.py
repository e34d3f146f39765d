"""The beam search as tensor operations over many utterances at once."""
