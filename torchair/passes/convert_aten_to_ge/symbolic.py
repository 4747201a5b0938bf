"""Converters: symbolic."""
