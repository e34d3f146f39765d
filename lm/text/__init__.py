"""Text: alphabets, spellings, words and sentences."""
