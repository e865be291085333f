"""Benchmarks of StyleGAN2."""
