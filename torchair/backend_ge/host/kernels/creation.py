"""Kernels: creation."""
