"""Converters: matmul."""
