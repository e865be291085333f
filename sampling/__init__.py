"""How pictures are asked of a network: the scripts' common options, and the network they open."""
