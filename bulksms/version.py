"""The version, in one place: the package's data and the ledgers name it."""

VERSION = "0.1.0"
