"""How a network is judged: pictures -> features -> statistics -> numbers. One small file for each metric."""
