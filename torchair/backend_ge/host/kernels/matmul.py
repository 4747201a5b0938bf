"""Kernels: matmul."""
