"""torch_npu's custom operators where torch_npu is absent.

``define_operators()`` gives ``torch.ops.npu`` the schemas of torch_npu, with implementations in
plain torch that run on any device, so that a model written for NPUs runs, traces and compiles on
any machine. Where torch_npu is installed nothing is defined: its own operators are used.
"""

from torchair.frontend.npu_operators.registry import define_operators, operators

__all__ = ["define_operators", "operators"]
