"""What the training loop can learn: each task with its loss and validation."""
