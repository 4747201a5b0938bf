"""The GE protobuf classes: ``ModelDef``, ``GraphDef``, ``OpDef``, ``AttrDef`` and the rest.

Every top-level message and enum value of ``ge_ir.proto`` is an attribute of this module. They live
in a descriptor pool of their own, so another ``ge.proto`` in the process, of whatever version, is
no conflict.
"""

from __future__ import annotations

import base64

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

from torchair.backend_ge.proto.descriptor_data import BASE64

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(base64.b64decode(BASE64))
DESCRIPTOR = _pool.FindFileByName("ge_ir.proto")

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = enum_type_wrapper.EnumTypeWrapper(_enum)
    globals().update({value.name: value.number for value in _enum.values})
