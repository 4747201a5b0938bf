"""Kernels: activation."""
