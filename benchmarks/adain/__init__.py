"""Benchmarks of style transfer."""
