"""Plans: an input that was read, as a ledger with everything queued, or as a preview of it.

Law: the whole input is read and checked first; what cannot be sent is refused, with a preview that says why.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bulksms import planning
from bulksms.errors import InputRefused
from bulksms.follow_up import open_earlier, still_living, told_before
from bulksms.intake import BadRow, read_suppressed
from bulksms.intake.opening import open_file
from bulksms.ledger.draft import Draft, require_free
from bulksms.ledger.people import People
from bulksms.planning import FIRST_EXAMPLES, Preview, Source, left_out, many
from bulksms.version import VERSION


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What becomes of the rows of an input."""

    skip_bad: bool = False
    """Record bad rows as skipped, and send the others."""
    suppress: tuple[Path, ...] = ()
    """Files of identifiers that are never sent to."""
    not_told_in: tuple[Path, ...] = ()
    """Ledgers; who was or may have been told in them is left out."""
    first_examples: int = FIRST_EXAMPLES
    """Messages at the beginning that the preview shows, beside three from anywhere; 0 shows none."""

    def require_readable(self) -> None:
        """Say what is wrong with the files' names before anything else is read. Raises InputRefused, LedgerTrouble."""
        for ledger in self.not_told_in:
            with open_earlier(ledger):
                pass
        for file in self.suppress:
            open_file(file).close()


class NotSendable(InputRefused):
    """Rows of an input cannot be sent, or nobody is left to send to; `preview` says what is wrong."""

    def __init__(self, sentence: str, preview: Preview, *, hint: str) -> None:
        super().__init__(sentence, hint=hint)
        self.preview = preview


def plan(
    source: Source,
    ledger: Path,
    options: PlanOptions | None = None,
    *,
    reject: Callable[[BadRow], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """Read the whole source and keep it as a ledger with everything queued; what it would send.

    `reject` is called with each bad row, `progress` is told the number of rows read so far. It reads and writes files:
    in an event loop call it by `asyncio.to_thread`.

    Raises:
        InputRefused: the source cannot be read.
        LedgerTrouble: the ledger, or an earlier one, cannot be used.
        NotSendable: a row is bad, or nobody is left to send to.
        PlanRefused: there is such a file already; a ledger is never overwritten.

    """
    require_free(ledger)
    with Draft(ledger) as draft, People() as people:
        found = read_into(draft, source, options or PlanOptions(), people, reject=reject, progress=progress)
        keep(draft, found)
    return found


def preview(
    source: Source,
    options: PlanOptions | None = None,
    *,
    reject: Callable[[BadRow], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """What `plan` would find, without leaving a file behind. Raises what it raises about the source."""
    with Draft(None) as draft, People() as people:
        return read_into(draft, source, options or PlanOptions(), people, reject=reject, progress=progress)


def read_into(  # noqa: PLR0913 - two of them are who is told
    draft: Draft,
    source: Source,
    options: PlanOptions,
    people: People,
    *,
    reject: Callable[[BadRow], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """Read the whole source into a draft; `people` knows identifiers that belong to one person. Raises as `plan`."""
    options.require_readable()
    with ExitStack() as stack:
        earlier = [stack.enter_context(open_earlier(path)) for path in options.not_told_in]
        found = planning.plan(
            source,
            draft,
            reject=reject,
            suppressed=people.also(_suppressed(options.suppress)),
            told_before=people.also(told_before(earlier)),
            first_examples=options.first_examples,
            progress=progress,
        )
        for finding in still_living(earlier):
            found.warn(finding)
    _require_sendable(found, skip_bad=options.skip_bad)
    return found


def keep(draft: Draft, preview: Preview) -> Path:
    """Give the draft its name: from here on it is a ledger. Raises PlanRefused if the name is taken."""
    return draft.keep(
        source=preview.input,
        columns=list(preview.columns),
        fingerprint=preview.fingerprint,
        summary=json.dumps(preview.as_dict()),
        version=VERSION,
    )


def _suppressed(files: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    for file in files:
        for key in read_suppressed(file):
            yield key, f"suppressed by {file.name}"


def _require_sendable(preview: Preview, *, skip_bad: bool) -> None:
    if preview.bad and not skip_bad:
        raise NotSendable(
            f"{preview.bad:,} of {many(preview.rows, 'row')} of {preview.input} cannot be sent; nothing was sent.",
            preview,
            hint="Mend them, or have them skipped and send the others.",
        )
    if not preview.to_send:
        raise NotSendable(
            f"{preview.input} has nobody to send to: of {many(preview.rows, 'row')} none is left.",
            preview,
            hint=f"Left out: {left_out(preview)}.",
        )
