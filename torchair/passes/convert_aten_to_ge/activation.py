"""Converters: activation."""
