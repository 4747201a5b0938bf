"""Converters: mutation."""
