"""Which decoding weights to try next, and when to stop trying a pair."""
