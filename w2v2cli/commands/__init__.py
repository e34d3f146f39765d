"""One file for each command: options, one call, what is printed."""
