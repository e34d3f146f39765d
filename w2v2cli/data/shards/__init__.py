"""WebDataset shards: written, indexed and read."""
