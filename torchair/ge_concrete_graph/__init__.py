"""Older import paths that existing programs use."""
