"""The names of ``torchair.ge`` and some more, where existing converters import them from."""

from torchair.ge.custom import custom_op
from torchair.ge.data_types import (
    DataType,
    Format,
    TensorType,
    torch_dtype_value_to_ge_type,
)
from torchair.ge.data_types import torch_dtype_value_to_ge_type as torch_type_to_ge_type
from torchair.ge.nodes import Cast, Clone, Const
from torchair.ge.promotion import auto_convert_to_tensor
from torchair.ge.tensor import Tensor, TensorSpec

__all__ = [
    "Cast",
    "Clone",
    "Const",
    "DataType",
    "Format",
    "Tensor",
    "TensorSpec",
    "TensorType",
    "auto_convert_to_tensor",
    "custom_op",
    "torch_dtype_value_to_ge_type",
    "torch_type_to_ge_type",
]
