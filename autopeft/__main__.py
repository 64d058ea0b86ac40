"""`python -m autopeft`."""

from autopeft.cli.main import main

if __name__ == "__main__":
    main()
