"""Older import path of patches."""
