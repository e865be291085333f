"""Pixels: picture archives, data sets, batches, grids and the embedded demo set."""

import system.start  # noqa: F401 (first)
