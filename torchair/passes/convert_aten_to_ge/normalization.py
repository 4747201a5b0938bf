"""Converters: normalization."""
