"""Triton kernels: the steps of the batched search that take most operations, as one launch each."""
