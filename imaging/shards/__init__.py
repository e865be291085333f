"""Data sets of any size: tar files of pictures in WebDataset's convention, here or behind any URL that fsspec knows."""
