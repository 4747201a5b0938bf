"""Converters: creation."""
