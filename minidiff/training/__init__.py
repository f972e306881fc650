"""Training: the loop, its settings, run folders, and several processes."""
