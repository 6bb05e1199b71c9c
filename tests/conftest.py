"""What every test needs: aioresponses on the aiohttp that the project demands."""

import inspect
from typing import Any
from unittest.mock import Mock

import aioresponses.core
from aiohttp import ClientResponse


class _MockedResponse(ClientResponse):
    """aioresponses 0.7 does not know the argument `stream_writer`, which aiohttp 3.14 made obligatory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
    aioresponses.core.ClientResponse = _MockedResponse  # type: ignore[attr-defined]  # its own import
