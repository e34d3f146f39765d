"""The command line: files, devices, terminals, processes."""

__version__ = "0.1.0"
