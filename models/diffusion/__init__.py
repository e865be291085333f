"""What all diffusion models share: noise, predictions, losses, solvers and guidance, whatever the network."""
