"""Public building blocks of converters: tensors, constants, casts, nodes of any operator.

    @torchair.register_fx_node_ge_converter(torch.ops.my.scale.default)
    def scale(x, factor, *, meta_outputs=None):
        return ge.custom_op("MyScale", inputs={"x": x}, outputs=["y"],
                            attrs={"factor": ge.attr.Float(factor)})

A converter builds the same ge operations as the built-in ones, so they are verified and run alike.
Nothing here imports torch.
"""

from torchair.ge import attr
from torchair.ge.custom import (
    custom_op,
    define_operator,
    load_operators,
    register_host_kernel,
)
from torchair.ge.data_types import DataType, Format
from torchair.ge.nodes import Cast, Clone, Const
from torchair.ge.tensor import Tensor, TensorSpec

__all__ = [
    "Cast",
    "Clone",
    "Const",
    "DataType",
    "Format",
    "Tensor",
    "TensorSpec",
    "attr",
    "custom_op",
    "define_operator",
    "load_operators",
    "register_host_kernel",
]
