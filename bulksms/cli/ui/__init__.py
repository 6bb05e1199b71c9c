"""The user interface: messages, tables, prompts, progress and previews; commands that can be copied.

`console` prints, `prompts` asks, `process` has the streams, the keyboard and the signals.
It imports no other room of the command line. Invariant: stdout is data, stderr is talk, and no line breaks a terminal.
"""
