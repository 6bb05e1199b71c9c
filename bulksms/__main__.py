"""`python -m bulksms` is the command `bulksms`."""

from bulksms.cli.app import main

if __name__ == "__main__":
    main()
