"""How fast networks, operators, loader and loop are, beside whom; and how good, on pictures whose causes are known."""

import system.start  # noqa: F401 (first)
