"""Settings: what was asked for, on the command line, in the environment and in a file."""
