"""What a network is: its function, its configuration and its file."""
