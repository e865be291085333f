"""Style transfer by script."""
