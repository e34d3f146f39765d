"""The acoustic model in float32, bfloat16 and 8 bits: words and seconds."""
