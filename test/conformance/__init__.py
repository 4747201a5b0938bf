"""Conformance sweep: PyTorch's own operator samples, compiled by torchair, against eager."""
