"""Accepted for programs that import it so that ``all_reduce`` can be traced: current PyTorch traces
collectives without a patch."""
