"""Every figure in README and docs comes from a module here, measured beside a peer in one run."""
