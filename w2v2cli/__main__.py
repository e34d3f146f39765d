"""`python -P -m w2v2cli`, for launchers that start modules; -P keeps a folder named `models` beside you out of the way."""

from w2v2cli.app import main

if __name__ == "__main__":
    main()
