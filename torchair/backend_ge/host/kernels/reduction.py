"""Kernels: reduction."""
