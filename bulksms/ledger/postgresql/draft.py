"""Draft: a plan for the database, written as a SQLite ledger beside it and published when it is complete."""

import tempfile
from pathlib import Path

from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql.publishing import publish
from bulksms.ledger.sqlite.draft import SqliteDraft


class PostgresqlDraft(SqliteDraft):
    """A plan under construction in a folder of its own, which leaving the block removes."""

    def __init__(self, url: LedgerUrl) -> None:
        self._url = url
        self._folder = tempfile.TemporaryDirectory(prefix="bulksms-")
        self._file = Path(self._folder.name) / f"{url.name}.ledger.db"
        super().__init__(self._file)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()

    def keep(  # type: ignore[override]  # a ledger in the database has a URL for its name
        self, *, source: str, columns: list[str], fingerprint: str, summary: str, version: str
    ) -> LedgerUrl:
        """See the contract."""
        super().keep(source=source, columns=columns, fingerprint=fingerprint, summary=summary, version=version)
        publish(self._file, self._url)
        return self._url
