"""The host device: runs GE graphs on any machine through ATen CPU kernels."""
