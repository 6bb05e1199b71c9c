"""Records: who begins a run, where and how, for the ledger."""

import json
import os
from collections.abc import Mapping
from typing import Any

from bulksms.adaxes import Endpoint
from bulksms.config import RunSettings
from bulksms.ledger.writer import RunRecord
from bulksms.library.operator import operator
from bulksms.version import VERSION


def record_of(endpoint: Endpoint, settings: RunSettings, confirmed_by: str, notes: Mapping[str, Any]) -> RunRecord:
    """What the ledger keeps of the beginning of a run; `notes` are kept among its settings."""
    user, host = operator()
    return RunRecord(
        url=endpoint.base_url,
        version=VERSION,
        user=user,
        host=host,
        process=os.getpid(),
        settings=json.dumps({**settings.as_dict(), "account": endpoint.account, **notes}),
        confirmed_by=confirmed_by,
    )
