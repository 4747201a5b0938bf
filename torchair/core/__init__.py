"""Import path of the package's logger."""
