"""The ledger: one SQLite file that is plan and result at once, and alone enough to resume.

Law: nothing is said to be written before it is on disk.
"""
