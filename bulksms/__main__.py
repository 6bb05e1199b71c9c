"""`python -m bulksms` is the command `bulksms`."""

from bulksms.cli import main

if __name__ == "__main__":
    main()
