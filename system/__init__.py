"""What every room needs of the operating system: files that appear whole, text that a terminal can show."""
