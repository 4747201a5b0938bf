"""Kernels: comparison."""
