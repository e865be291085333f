"""WHERE a run is written: status lines, statistics, TensorBoard, Weights & Biases, alarms, and a page to look at."""
