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
            WHERE earlier.evidence IN ('succeeded', 'suspended') OR (
                earlier.evidence = 'started' AND NOT EXISTS (
                    SELECT 1 FROM decided WHERE decided.message = later.message AND state_after = 'queued'
                )
            )
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
    "what is unknown has its doubt": """
        SELECT number FROM message WHERE state = 'unknown' AND doubt IS NULL
    """,
    "a person moved messages only as a person may": """
        SELECT message FROM decided WHERE (state_before, state_after) NOT IN (VALUES ('failed', 'queued'),
            ('unknown', 'queued'), ('expired', 'queued'), ('unknown', 'accepted'), ('unknown', 'failed'))
    """,
    "what was resolved by hand stands in the history": """
        SELECT number FROM message WHERE reason = 'resolved_by_hand' AND NOT EXISTS (
            SELECT 1 FROM decided WHERE message = number AND state_after = state AND reason_after = reason
        )
    """,
    "what a person settled as accepted stays so": """
        SELECT number FROM message JOIN decided ON message = number
            WHERE state_after = 'accepted' AND state <> 'accepted'
    """,
    "every decision stands in the history with who made it": """
        SELECT decision FROM decided WHERE decision NOT IN (SELECT number FROM decision)
    """,
    "what was purged has no names and texts": """
        SELECT message.number FROM message, plan WHERE purged_at IS NOT NULL
            AND recipient || recipient_key || text || COALESCE(object_dn, '') || COALESCE(error, '') <> ''
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
