"""The program as a module, for launchers that start modules: `python -m w2v2cli`."""

from w2v2cli.app import main

if __name__ == "__main__":
    main()
