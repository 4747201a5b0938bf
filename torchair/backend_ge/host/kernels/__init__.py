"""Host kernels: what each GE operator computes, in plain torch. One file per operator family."""

from torchair.backend_ge.host.kernels.registry import Kernel, ints, kernel, kernels, torch_dtype

__all__ = ["Kernel", "ints", "kernel", "kernels", "torch_dtype"]
