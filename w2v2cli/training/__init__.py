"""Training runs: recipes, the loop, checkpoints."""
