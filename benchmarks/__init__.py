"""Measures the speed of networks, operators, loader and loop, and the quality of networks of the demo set."""

import system.start  # noqa: F401 (first)
