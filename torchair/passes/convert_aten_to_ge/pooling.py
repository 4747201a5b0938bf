"""Converters: pooling."""
