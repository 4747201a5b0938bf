"""Command line tools: ``torchair-opt`` (passes over textual IR) and what it shares with others."""
