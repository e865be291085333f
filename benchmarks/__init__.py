"""How fast the networks are, beside whom, and how good on pictures whose every cause is known."""
