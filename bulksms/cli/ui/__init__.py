"""The user interface: messages, tables, prompts, progress and previews; commands that can be copied.

It imports no other room of the command line. Invariant: stdout is data, stderr is talk, and no line breaks a terminal.
"""
