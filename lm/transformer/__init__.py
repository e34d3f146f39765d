"""The word Transformer language model."""
