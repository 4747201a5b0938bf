"""Capture and replay of aten modules (modes reduce-overhead and npugraph_ex) on this machine.

    aten module -> aten_graph -> specialise (one Program per capture key) -> capture -> replay

``captured_graph.py`` is where a call arrives and where to start reading.
"""
