"""What any training run needs: configuration, command line, checkpoints, run folders, statistics, seeds, processes."""
