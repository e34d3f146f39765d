"""Contenders, inputs and measuring processes of the benchmarks of beam search."""
