"""Converters: comparison."""
