"""Jobs: pretraining, fine-tuning and the selection among runs, for commands and for Python."""
