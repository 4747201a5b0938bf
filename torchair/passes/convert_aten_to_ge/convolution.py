"""Converters: convolution."""
