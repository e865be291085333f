"""Pretrained networks that judge pictures, in our own definitions."""
