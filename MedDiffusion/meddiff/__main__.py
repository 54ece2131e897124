"""`python -m meddiff` is the command `meddiff`."""

from .cli import main

if __name__ == "__main__":
    main()
