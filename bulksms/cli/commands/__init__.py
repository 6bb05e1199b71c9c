"""The commands: `run_NAME` does what the command NAME says; its module is imported only then.

Commands that are read together are in one module, which `MODULE` in their options names.

They may import the flows, options and ui. Invariant: a command gets its options parsed, and returns an exit
code or None.
"""
