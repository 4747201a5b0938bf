"""Import path of contributed operators."""
