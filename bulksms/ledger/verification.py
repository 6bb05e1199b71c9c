"""Verification: the laws that can be seen in a ledger, each as a question that must find nothing.

Law: it reads only, and each law stands here once, in words and as SQL.
"""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from bulksms.ledger import file

LAWS: Mapping[str, str] = {
    "every message is in a state that there is": """
        SELECT number FROM message WHERE state NOT IN ('queued', 'sending', 'processing', 'accepted',
            'awaiting_approval', 'failed', 'unknown', 'expired', 'cancelled', 'skipped')
    """,
    "the counters are what the rows say": """
        SELECT name FROM tally WHERE name <> 'may_have_sent_twice'
            AND messages <> (SELECT COUNT(*) FROM message WHERE state = tally.name)
    """,
    "the counter of those who may have been sent to twice is what the rows say": """
        SELECT name FROM tally WHERE name = 'may_have_sent_twice'
            AND messages <> (SELECT COUNT(*) FROM message WHERE may_have_sent_twice = 1)
    """,
    "every attempt that ended has its line of evidence": """
        SELECT number FROM message WHERE attempts <> (SELECT COUNT(*) FROM attempt WHERE message = number)
            + (CASE WHEN state = 'sending' THEN 1 ELSE 0 END)
    """,
    "nothing was sent again after the server had taken it": """
        SELECT later.message FROM attempt later JOIN attempt earlier
            ON earlier.message = later.message AND earlier.attempt < later.attempt
            WHERE earlier.evidence IN ('succeeded', 'suspended', 'started')
    """,
    "failed, expired and cancelled are only said of messages that were certainly not sent": """
        SELECT number FROM message WHERE state IN ('failed', 'expired', 'cancelled') AND doubt IS NOT NULL
            AND reason <> 'resolved_by_hand'
    """,
    "whoever was attempted again after a doubtful attempt is told of as possibly sent twice": """
        SELECT later.message FROM attempt later
            JOIN attempt earlier ON earlier.message = later.message AND earlier.attempt < later.attempt
            JOIN message ON message.number = later.message
            WHERE earlier.evidence IN ('lost', 'server_failed', 'crashed') AND may_have_sent_twice = 0
    """,
    "what is processing has its operation": """
        SELECT number FROM message WHERE state = 'processing' AND operation_id IS NULL
    """,
    "what is finished says when": """
        SELECT number FROM message WHERE state NOT IN ('queued', 'sending', 'processing') AND attempts > 0
            AND finished_at IS NULL
    """,
}


def verify(path: Path) -> list[tuple[str, str]]:
    """Each law and what breaks it; an empty string where it holds. Raises LedgerTrouble if it cannot be read."""
    findings: list[tuple[str, str]] = []
    with file.speaking_of(path), closing(file.open_read_only(path)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
        findings.append(("the file is whole", "" if problems == ["ok"] else "; ".join(problems)))
        for law, question in LAWS.items():
            broken = [str(row[0]) for row in connection.execute(question).fetchmany(6)]
            findings.append((law, ", ".join(broken[:5]) + (" …" if len(broken) > 5 else "")))
    return findings
