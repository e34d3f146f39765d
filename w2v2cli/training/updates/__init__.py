"""What goes into an update besides its loss: draws, and the work shared among ranks."""
