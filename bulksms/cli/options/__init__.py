"""Options: each declared once, and what command line, environment, settings file and credentials say.

`declaration` says how an option is declared; `commands` and `groups` declare them. `settings_file` reads the user's
file, `mailing` a prepared alert.
They may import the ui alone. Invariant: the command line beats the environment, which beats the
file; no secret is shown.
"""
