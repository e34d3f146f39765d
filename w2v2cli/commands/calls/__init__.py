"""What every command takes beside its own options."""
