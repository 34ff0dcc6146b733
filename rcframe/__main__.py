"""`python -m rcframe`."""

from rcframe.cli import main

if __name__ == "__main__":
    main()
