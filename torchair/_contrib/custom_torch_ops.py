"""Accepted for programs that import it to make torch's ``npu`` operators known.

Schemas of custom operators are read from torch when a graph is imported, whoever defined them, so
there is nothing to register.
"""
