"""Diffusion transformers (Peebles and Xie 2023)."""
