"""Generators as graphs that run where this project is not installed: ONNX, and PyTorch's own `.pt2`."""
