"""What words are likely, and the search for them: log-probabilities in, hypotheses out."""
