"""Reader of CANN's C++ operator prototypes (``REG_OP``): to a registry file and Python builders.

    python -m torchair.tools.reg_op nn_extra_ops.h -o extra.txt --builders extra_builders.py

``tokens`` cuts a header, ``prototypes`` reads the macros, ``element_types`` and ``defaults`` their
arguments, ``registry_file`` and ``builders`` write. Load the result with
``torchair.ge.load_operators``.
"""

from torchair.tools.reg_op.builders import builders_text
from torchair.tools.reg_op.prototypes import Prototype, parse_header, read_headers
from torchair.tools.reg_op.registry_file import operator_line, registry_text

__all__ = [
    "Prototype",
    "builders_text",
    "operator_line",
    "parse_header",
    "read_headers",
    "registry_text",
]
