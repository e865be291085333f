"""Style transfer, measured."""
