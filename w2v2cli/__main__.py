"""The program as a module, for launchers that start modules: `python -P -m w2v2cli`.

-P keeps Python from importing a folder named `models` in the current directory instead of ours.
"""

from w2v2cli.app import main

if __name__ == "__main__":
    main()
