"""How a StyleGAN2 learns."""
