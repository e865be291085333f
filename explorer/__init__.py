"""A page in the browser to explore a network: what it shows is the work of `sampling` and `models`."""
