"""Micro-batches read ahead for a whole run, and the flat arrays that travel to who reads them."""
