"""Converters: shape."""
