"""Converters: indexing."""
