"""How a network learns."""

import system.start  # noqa: F401 (first)
