"""Kernels: convolution."""
