"""The command line: the commands, what several of them share, their options, and what a person sees.

It is made of the library (`bulksms`) and may import every room. Invariant: the global state of the process, such as
signals and logging, is touched here and nowhere else. Which exit code it is says `bulksms.report.summary`.
"""
