"""How many errors a transcript has."""
