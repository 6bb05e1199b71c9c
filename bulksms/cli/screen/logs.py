"""Logs: the events of the engine, on stderr or in a file, for people or as JSON."""

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

import structlog

from bulksms.errors import UsageError


def configure(level: str, form: str, file: Path | None, *, recipients: bool = False) -> None:
    """Listen to the logger `bulksms`; `recipients` lets events name them.

    Raises UsageError if the file cannot be written.
    """
    if form == "json":
        renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=file is None and sys.stderr.isatty())
    handler = _TalkHandler() if file is None else _file_handler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logger = logging.getLogger("bulksms")
    for earlier in logger.handlers:
        earlier.close()
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.getChild("recipients").setLevel(logging.DEBUG if recipients else logging.CRITICAL)
    logger.propagate = False


class _TalkHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in typeshed only
    """Writes to stderr as it is at the moment: above a display that is being drawn there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Where talk goes now."""
        return sys.stderr


class _FileHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in typeshed only
    """Writes to a file that is its own, and closes it."""

    def close(self) -> None:
        """No event comes after this one."""
        super().close()
        self.stream.close()


def _file_handler(file: Path) -> _FileHandler:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise UsageError(f"The log file {file} cannot be written: {error.strerror}.", hint="Choose another.") from error
    return _FileHandler(os.fdopen(descriptor, "a", encoding="utf-8"))
