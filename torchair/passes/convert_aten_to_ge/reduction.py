"""Converters: reduction."""
