"""Style transfer in training."""
