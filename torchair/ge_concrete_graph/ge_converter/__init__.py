"""Older import path of the converters."""
