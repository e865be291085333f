"""Arbitrary style transfer with AdaIN (Huang and Belongie 2017)."""
