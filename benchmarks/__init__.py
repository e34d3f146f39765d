"""Every figure in the README comes from a module here, run beside a peer in the same process run."""
