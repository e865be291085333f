"""Our networks, diffusion and guidance against numbers recorded from the published programs."""
