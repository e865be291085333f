"""Pixels: picture archives, data sets, batches, grids and the embedded demo set."""
