"""What xDSL lacks for a compiler of large flat graphs: interning, lazy dialects, a fast verifier,
sweeps.

Modules: ``private`` (the only place that touches xDSL's private fields), ``interned``, ``calls``
(table-driven operations), ``lazy`` (dialects and Context), ``verify``, ``rewrite`` (indexed sweep),
``conversion`` (block-rebuilding), ``location``, ``weights``, ``text`` (cached printer and parser).
"""
