"""Options: each declared once, and what command line, environment, settings file and credentials say.

They may import the ui alone. Invariant: the command line beats the environment, which beats the
file; no secret is shown.
"""
