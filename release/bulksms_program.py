"""Where the self-contained program begins."""

from bulksms.cli.app import main

if __name__ == "__main__":
    main()
