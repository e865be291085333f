"""What only a StyleGAN2 can be asked for: projections, directions, films through W."""
