"""Plans: an input that was read, as a ledger with everything queued, or as a preview of it.

Invariant: the whole input is read and checked first; what cannot be sent is refused, with a preview that says why.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bulksms import __version__
from bulksms.errors import InputError
from bulksms.input import BadRow, read_suppressed
from bulksms.input.decoding import open_file
from bulksms.ledger import Draft, LedgerName, ledger_at, new_draft
from bulksms.planning.follow_up import IdentityMap, already_sent, open_earlier, still_living
from bulksms.planning.plan import FIRST_EXAMPLES, Preview, Source, build_plan, count_of, left_out
from bulksms.system import operator


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What becomes of the rows of an input."""

    skip_invalid: bool = False
    """Record bad rows as skipped, and send the others."""
    suppress: tuple[Path, ...] = ()
    """Files of identifiers that are never sent to."""
    not_sent_in: tuple[LedgerName, ...] = ()
    """Ledgers; their recipients are left out if a message was, or may have been, sent to them."""
    first_examples: int = FIRST_EXAMPLES
    """Messages at the beginning that the preview shows, beside three from anywhere; 0 shows none."""

    def require_readable(self) -> None:
        """Say what is wrong with the files' names before anything else is read. Raises InputError, LedgerError."""
        for ledger in self.not_sent_in:
            with open_earlier(ledger):
                pass
        for file in self.suppress:
            open_file(file).close()


class NotSendableError(InputError):
    """Rows of an input cannot be sent, or nobody is left to send to; `preview` says what is wrong."""

    def __init__(self, sentence: str, preview: Preview, *, hint: str) -> None:
        super().__init__(sentence, hint=hint)
        self.preview = preview


def plan(
    source: Source,
    ledger: LedgerName,
    options: PlanOptions | None = None,
    *,
    reject: Callable[[BadRow], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """Read the whole source and keep it as a ledger with everything queued; what it would send.

    `reject` is called with each bad row, `progress` with the number of rows read so far. It reads and writes files: in
    an event loop call it by `asyncio.to_thread`.

    Raises:
        InputError: the source cannot be read.
        LedgerError: the ledger, or an earlier one, cannot be used.
        NotSendableError: a row is bad, or there is nobody left to send to.
        PlanError: the file exists already; a ledger is never overwritten.

    """
    ledger_at(ledger).require_free()
    with new_draft(ledger) as draft, IdentityMap() as people:
        found = read_into(draft, source, options or PlanOptions(), people, reject=reject, progress=progress)
        save_plan(draft, found)
    return found


def preview(
    source: Source,
    options: PlanOptions | None = None,
    *,
    reject: Callable[[BadRow], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """What `plan` would find, without leaving a file behind. Raises what it raises about the source."""
    with new_draft(None) as draft, IdentityMap() as people:
        return read_into(draft, source, options or PlanOptions(), people, reject=reject, progress=progress)


def read_into(  # noqa: PLR0913 - two of them are callbacks
    draft: Draft,
    source: Source,
    options: PlanOptions,
    people: IdentityMap,
    *,
    reject: Callable[[BadRow], None] | None = None,
    progress: Callable[[int], None] | None = None,
    excluded: Iterable[tuple[str, str]] = (),
) -> Preview:
    """Read the whole source into a draft; `people` knows identifiers that belong to one person. Raises as `plan`."""
    options.require_readable()
    with ExitStack() as stack:
        earlier = [stack.enter_context(open_earlier(path)) for path in options.not_sent_in]
        found = build_plan(
            source,
            draft,
            reject=reject,
            suppressed=people.with_aliases(chain(_suppressed(options.suppress), excluded)),
            already_sent=people.with_aliases(already_sent(earlier)),
            first_examples=options.first_examples,
            progress=progress,
        )
        found.has_suppressions, found.has_earlier = bool(options.suppress), bool(earlier)
        for finding in still_living(earlier):
            found.warn(finding)
    _require_sendable(found, skip_invalid=options.skip_invalid)
    return found


def save_plan(draft: Draft, preview: Preview, *, needs_approval: bool = False) -> LedgerName:
    """Give the draft its name: from here on it is a ledger. Raises PlanError if the name is taken.

    With `needs_approval` nothing is sent from it before another account has approved it.
    """
    summary = preview.as_dict()
    if needs_approval:
        summary["planned_by"] = " on ".join(operator())
    return draft.keep(
        source=preview.input,
        columns=list(preview.columns),
        fingerprint=preview.fingerprint,
        summary=json.dumps(summary),
        version=__version__,
    )


def _suppressed(files: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    for file in files:
        for key in read_suppressed(file):
            yield key, f"suppressed by {file.name}"


def _require_sendable(preview: Preview, *, skip_invalid: bool) -> None:
    if preview.bad and not skip_invalid:
        raise NotSendableError(
            f"{preview.bad:,} of {count_of(preview.rows, 'row')} of {preview.input} cannot be sent; nothing was sent.",
            preview,
            hint="Fix them, or have them skipped and send the others.",
        )
    if not preview.to_send:
        raise NotSendableError(
            f"{preview.input} has nobody to send to: of {count_of(preview.rows, 'row')} none is left.",
            preview,
            hint=f"Left out: {left_out(preview) or 'none'}.",
        )
