"""Image generators in Python."""

import system.start  # noqa: F401 (first)
