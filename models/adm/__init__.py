"""The U-Net and the classifier of noisy pictures of Dhariwal and Nichol 2021."""
