"""The options of each command; the docstring of a class is the help of its command.

`run_NAME` in the module `bulksms.cli.commands.NAME` does what the command NAME says; where several commands are in one
module, `MODULE` names it. It is imported only then.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import click

from bulksms.cli.options.declaration import FILE, DeclaredOption, Options, argument, option, setting, settings_of
from bulksms.cli.options.groups import (
    DEFAULTS,
    EndpointOptions,
    InputOptions,
    LookupOptions,
    OutputOptions,
    SendingOptions,
)
from bulksms.cli.options.mailing import expanded
from bulksms.cli.options.values import FOLDER, LEDGER, WORKERS, age, names, rows, selection, states
from bulksms.ledger import DatabaseUrl, LedgerName, Rows, Selection
from bulksms.policy.rate_limiter import parse_rate

INPUT = click.Path(allow_dash=True)
"""A file or standard input; the shell completes it as a file."""
SHELLS = ("bash", "zsh", "fish", "powershell")


class SendOptions(SendingOptions):
    """Read INPUT (CSV, JSONL, xlsx, or - for standard input), check all of it, show what would be sent, ask, and send.

    With a LEDGER, start or continue that plan; with --sent-in or --group there is no INPUT. The same command again
    sends only what is still to be sent.
    """

    EXAMPLE: ClassVar[str] = "bulksms send people.csv --text-file outage.txt --url https://HOST/restApi"
    EXPANDED = expanded
    mailing: Path | None = option(None, "The mailing file that the other words are from.", type=FILE, hidden=True)
    source: str | None = argument("INPUT|LEDGER|MAILING.toml", INPUT, default=None)
    dry_run: bool = option(False, "Do everything but send; no file is left behind.")
    sandbox: bool = option(False, "Rehearse: send to a simulator inside this process.")
    ledger: LedgerName | None = option(
        None, "Name of the ledger, a file or a URL.  [INPUT.ledger.db here]", type=LEDGER, metavar="LEDGER"
    )
    new: bool = option(False, "Start anew, even if the same was sent before.")
    expect: str | None = setting(None, "Refuse a plan that is not the one previewed.", metavar="FINGERPRINT")
    input: InputOptions
    lookup: LookupOptions


class PlanOptions(Options):
    """Read and check INPUT (CSV, JSONL, xlsx, or - for standard input), and keep the plan with everything queued.

    It never overwrites a ledger, and needs no URL and no token unless somebody is to be looked up. `bulksms send
    LEDGER` sends it, byte for byte. With --sent-in or --group there is no INPUT.
    """

    EXAMPLE: ClassVar[str] = "bulksms plan people.csv --text-file outage.txt --ledger outage.ledger.db"
    source: str | None = argument("INPUT", INPUT, default=None)
    ledger: LedgerName | None = option(
        None, "Name of the ledger, a file or a URL.  [INPUT.ledger.db here]", type=LEDGER, metavar="LEDGER"
    )
    input: InputOptions
    lookup: LookupOptions
    endpoint: EndpointOptions
    needs_approval: bool = option(False, "Send nothing before another account has approved it with `bulksms approve`.")
    workers: int = setting(DEFAULTS.workers, "Requests and look-ups at once.", type=WORKERS, metavar="auto|N")
    rate: float | None = setting(None, "Messages and look-ups a second.  [no limit]", parse=parse_rate, metavar="N")
    start_registry: Path | None = setting(
        None,
        "Shared folder where machines register the plans they start; what they sent is in the preview.",
        type=FILE,
        metavar="DIR",
    )
    quiet: bool = setting(False, "No bar, no preview.", short="-q")
    as_json: bool = setting(False, "The preview as one JSON object on stdout.", flag="--json")


class ApproveOptions(Options):
    """Approve the plan in LEDGER, which another account made with `plan --needs-approval`: it may be sent from then on.

    FINGERPRINT is that of the preview, so that exactly what was looked at is approved. The ledger keeps who approved
    it, on which host, and when.
    """

    MODULE: ClassVar[str] = "plan"
    EXAMPLE: ClassVar[str] = "bulksms approve people.ledger.db 3b1f… --note 'ticket 4711'"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    fingerprint: str = argument("FINGERPRINT", click.STRING)
    note: str | None = option(None, "Why, for the ledger's history.", metavar="TEXT")


class ResumeOptions(SendingOptions):
    """Continue LEDGER; it needs no input file. What may have been sent already is not sent again."""

    MODULE: ClassVar[str] = "retry"
    EXAMPLE: ClassVar[str] = "bulksms resume people.ledger.db"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    after_failover: bool = option(
        False, "Go on although another database server has taken over, which you know to hold the truth."
    )


class WorkOptions(Options):
    """Work on the run that somebody has started on the ledger at URL, in a PostgreSQL database, from one more machine.

    Nobody is asked: who started the run was. Its settings hold, so that all machines agree; only the number of workers
    is this machine's own. The exit code is that of the whole ledger.
    """

    MODULE: ClassVar[str] = "database"
    EXAMPLE: ClassVar[str] = "bulksms work 'postgresql://HOST/messaging?ledger=people'"
    ledger: LedgerName = argument("URL", LEDGER)
    workers: int | None = setting(None, "Requests at once.  [as the run]", type=WORKERS, metavar="auto|N")
    endpoint: EndpointOptions
    output: OutputOptions


class RetryOptions(SendingOptions):
    """Queue again what failed or expired in LEDGER, ask, and go on as `resume` does.

    Unknown messages are sent again only with `--only unknown`: those who got the first one get it twice. Accepted
    messages are never sent again. A deadline that has passed no longer holds; --deadline sets another one.
    """

    EXAMPLE: ClassVar[str] = "bulksms retry people.ledger.db --only failed:attempts_exhausted,expired"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    only: Selection | None = option(
        None,
        "Only these.  [failed:attempts_exhausted,expired; of rows and people named: failed,expired]",
        parse=selection,
        complete=states,
        metavar="STATES",
    )
    rows: Rows | None = option(None, "Of these rows, as the report shows them: 12,40-60.", parse=rows, metavar="ROWS")
    source: Path | None = option(
        None, "Of the people whose identifiers are in this file.", flag="--from", type=FILE, metavar="FILE"
    )


class ResolveOptions(Options):
    """Settle what is unknown in LEDGER, once you know: all that is named, or nothing.

    Nothing is sent. `report --only unknown` names those it is about; the ledger keeps who settled them, when and why.
    """

    EXAMPLE: ClassVar[str] = 'bulksms resolve people.ledger.db --accepted 12,40-60 --note "rang them"'
    ledger: LedgerName = argument("LEDGER", LEDGER)
    accepted: Rows | None = option(
        None, "These got it: rows as the report shows them, 12,40-60.", parse=rows, metavar="ROWS"
    )
    failed: Rows | None = option(None, "These did not get it, and are not sent it by this.", parse=rows, metavar="ROWS")
    source: Path | None = option(
        None,
        "Rows or identifiers, and accepted or failed in a column `outcome`; or a report with an edited `status`.",
        flag="--from",
        type=FILE,
        metavar="CSV",
    )
    outcome: str | None = option(
        None, "What became of everybody in the CSV.", type=click.Choice(["accepted", "failed"])
    )
    note: str | None = option(None, "How you know, for the ledger's history.", metavar="TEXT")
    as_json: bool = option(False, "The state of the ledger afterwards, as one JSON object.", flag="--json")


class StatusOptions(Options):
    """Show the state of a ledger, also beside a living run, and what to do next."""

    EXAMPLE: ClassVar[str] = "bulksms status people.ledger.db --watch"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    watch: bool = option(False, "Show how the run on it goes until it ends; Ctrl-C ends the watching only.")
    as_json: bool = option(False, "As one JSON object; with --watch one a line every second.", flag="--json")


class StopOptions(Options):
    """Let the run that works on LEDGER begin nothing new, as Ctrl-C does there, and wait until it has ended.

    What is left stays queued.
    """

    EXAMPLE: ClassVar[str] = "bulksms stop people.ledger.db"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    now: bool = option(False, "Break off the requests in flight too, as a second Ctrl-C does.")


class PauseOptions(Options):
    """Let the machines that work on the ledger at URL begin nothing new until `bulksms resume URL`.

    What is in flight is awaited; the machines stay.
    """

    MODULE: ClassVar[str] = "stop"
    EXAMPLE: ClassVar[str] = "bulksms pause 'postgresql://HOST/messaging?ledger=people'"
    ledger: LedgerName = argument("URL", LEDGER)


class CancelOptions(Options):
    """Stop the run that works on LEDGER, if there is one, and make what is queued `cancelled`: for the wrong text.

    What has left by then cannot be called back; `bulksms report --only accepted` names those who got it.
    """

    MODULE: ClassVar[str] = "stop"
    EXAMPLE: ClassVar[str] = "bulksms cancel people.ledger.db"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    yes: bool = option(False, "Withdraw without a question.")
    as_json: bool = option(False, "The state of the ledger then, as one JSON object.", flag="--json")


class NewOptions(Options):
    """Write a commented mailing file: audience, text and safety of an alert, prepared by day and sent by night."""

    MODULE: ClassVar[str] = "check"
    EXAMPLE: ClassVar[str] = "bulksms new vpn-down.toml"
    file: Path = argument("MAILING.toml")


class ReportOptions(Options):
    """List each message in the input's order: to whom it was sent, to whom not, and what the server answered."""

    EXAMPLE: ClassVar[str] = "bulksms report people.ledger.db --format csv --only failed,unknown -o rest.csv"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    format: str | None = option(
        None, "html is one page with everything.  [table]", type=click.Choice(["table", "csv", "jsonl", "html"])
    )
    only: Selection | None = option(
        None,
        "Only these, such as failed:attempts_exhausted,unknown.",
        parse=selection,
        complete=states,
        metavar="STATES",
    )
    columns: tuple[str, ...] | None = option(
        None, "Columns of the table: the report's and the input's.", parse=names, metavar="NAMES"
    )
    sort: str | None = option(None, "Sort the table by this column; -NAME: the last first.", metavar="[-]COLUMN")
    wide: bool = option(False, "Table lines as long as they are.")
    no_pager: bool = option(False, "Print a long table without a pager.")
    runs: bool = option(False, "The runs on it instead: who, where, how, and why each ended.")
    as_json: bool = option(False, "With --runs: as one JSON object.", flag="--json")
    output: Path | None = option(
        None, "Write there, readable by nobody else.  [stdout]", short="-o", type=FILE, metavar="FILE"
    )
    force: bool = option(False, "Replace the file of -o if it is there already.")


class HistoryOptions(Options):
    """List the ledgers in FOLDER (here, by default) or in the database at URL, the earliest first: the counts of each,
    how its last run ended.

    A ledger that cannot be read is named and does not keep the others from being listed (exit code 6).
    """

    MODULE: ClassVar[str] = "ledgers"
    EXAMPLE: ClassVar[str] = "bulksms history /var/lib/bulksms"
    folder: Path | DatabaseUrl | None = argument("[FOLDER|URL]", FOLDER, default=None)
    as_json: bool = option(False, "As one JSON object.", flag="--json")


class CheckOptions(Options):
    """Reach the server without sending: URL, DNS, TCP, TLS, path, token or log-in, round trip, one line each.

    With a RECIPIENT (DN, GUID or SID), look it up and say whether it has a number. With a MAILING.toml, say what it
    would do now: whom it would reach, how old its files are, what differs from the last time.

    Exit code 0 if all is well, 5 if a step failed; the steps after it need it, and are not tried.
    """

    EXAMPLE: ClassVar[str] = "bulksms check 7a4267ce-d354-44e7-8bd6-c681f1284a41 --url https://HOST/restApi"
    recipient: str | None = argument("[RECIPIENT|MAILING.toml]", click.STRING, default=None)
    endpoint: EndpointOptions
    timeout: float = setting(DEFAULTS.timeout, "Seconds a step.", type=click.FloatRange(0.1, 3600), metavar="S")
    number_property: str = setting("mobile", "Property that holds the recipient's number.", metavar="NAME")
    as_json: bool = setting(False, "As one JSON object.", flag="--json")


class VerifyOptions(Options):
    """Check LEDGER: the file's integrity, the equation, and every invariant that can be checked in it.

    Exit code 0 or 6.
    """

    MODULE: ClassVar[str] = "ledgers"
    EXAMPLE: ClassVar[str] = "bulksms verify people.ledger.db"
    ledger: LedgerName = argument("LEDGER", LEDGER)
    as_json: bool = option(False, "As one JSON object.", flag="--json")


class PurgeOptions(Options):
    """Remove recipients, texts, other columns, notes and the server's words from each LEDGER for good.

    States, reasons, counts, times and who ran it stay; afterwards nothing can be sent from it. A ledger with something
    left to send is refused; one that is younger than --older-than is left as it is.
    """

    MODULE: ClassVar[str] = "ledgers"
    EXAMPLE: ClassVar[str] = "bulksms purge people.ledger.db --older-than 90d --yes"
    ledgers: tuple[LedgerName, ...] = argument("LEDGER...", LEDGER, many=True)
    older_than: timedelta | None = option(
        None, "Only if nothing was done to it for so long: 90d, 12w.", parse=age, metavar="AGE"
    )
    yes: bool = option(False, "Purge without a question.")


class ExportOptions(Options):
    """Write the ledger at URL, in a PostgreSQL database, to FILE: a copy that every command reads, with its history.

    Nothing can be sent from it. It is of one moment, also beside working machines, and readable by nobody else.
    """

    MODULE: ClassVar[str] = "database"
    EXAMPLE: ClassVar[str] = "bulksms export 'postgresql://HOST/messaging?ledger=people' people.ledger.db"
    ledger: LedgerName = argument("URL", LEDGER)
    file: Path = argument("FILE")


class ImportOptions(Options):
    """Move the ledger in FILE, planned or begun, into a PostgreSQL database, where several machines can work on it.

    FILE is a copy from then on: it can be read and purged, and nothing is sent from it. Broken off, the same command
    completes it.
    """

    MODULE: ClassVar[str] = "database"
    EXAMPLE: ClassVar[str] = "bulksms import people.ledger.db 'postgresql://HOST/messaging?ledger=people'"
    file: Path = argument("FILE")
    ledger: LedgerName = argument("URL", LEDGER)


class CompletionOptions(Options):
    """Print the script that completes commands, options and names of files in this shell.

    Try it with `eval "$(bulksms completion bash)"`; the manual says where each shell keeps it.
    """

    MODULE: ClassVar[str] = "config"
    EXAMPLE: ClassVar[str] = "bulksms completion bash >> ~/.bashrc"
    shell: str = argument(f"[{'|'.join(SHELLS)}]", click.Choice(SHELLS))


class SandboxOptions(Options):
    """Run the simulator of an Adaxes server on loopback until Ctrl-C. Its token is `sandbox`.

    It speaks the real API; operator@example.com logs in there with the password `sandbox`. Faults meet a recipient's
    first, second, … request, and every later one succeeds. The first of these that names the recipient decides:

    \b
    1. an entry of its own in the file of --faults
    2. a marker in its name: CN=Anna [429\\,503*2],OU=Staff
       meets 429, then 503 twice
    3. the shares in that file, or those of `preset`, by which
       35 of 100 recipients meet something on purpose

    \b
    A file of --faults is TOML, or JSON of the same form:
      seed = 7
      [[rules]]
      share = 0.05
      faults = ["429_retry_after", "503*2"]
      [[rules]]
      recipient = "CN=Anna Berg,OU=Staff,DC=example,DC=com"
      faults = "drop_after"

    Faults after which the message has gone out:
    ok, result_warning, result_error, result_named, 500_processed, 502_processed, 504_processed, empty_200,
    html_200, unreadable_json, wrong_json_200, huge_200, 201, 204, 202, 202_no_id, 202_lost, 202_poll_trouble,
    drop_after, reset_after, stall, stall_body, truncated, garbage, drip, answer_then_close, slow.

    Faults after which it has not:
    result_failed, result_suspended, 400, 401, 403, 404, 405, 408, 409, 413, 422, 425, 429, 429_retry_after,
    429_retry_date, 500, 501, 502, 503, 503_retry_after, 504, redirect, redirect_307, 403_html, 404_html, 407,
    500_html, 502_html, 503_html, 504_html, 202_failed, 202_suspended, 202_stuck, drop_before, reset_before,
    stall_before.
    """  # noqa: D301 - a backspace is how click takes a block as it is

    EXAMPLE: ClassVar[str] = "bulksms sandbox --port 8080 --faults preset --latency 0.2 --journal received.jsonl"
    port: int = option(0, "Port on loopback.  [any free one]", type=click.IntRange(0, 65535), metavar="N")
    latency: float = option(0.0, "Seconds before each answer.", type=click.FloatRange(0, 600), metavar="S")
    faults: str | None = option(None, "Which recipients meet which faults.  [none]", metavar="preset|FILE")
    seed: int = option(1, "Which recipients a share of faults falls on.", type=click.INT, metavar="N")
    journal: Path | None = option(
        None, "Write everything received there, one JSON object a line.", type=FILE, metavar="FILE"
    )
    postgresql: bool = option(False, "Also a throw-away PostgreSQL, to try out how several machines share a run.")


class ConfigOptions(Options):
    """Show each setting and where it came from: an option, a variable of the environment, a file, or the default.

    With options, what they would change. With a LEDGER, what `bulksms resume LEDGER` would use, for what is kept there
    beats environment and file. Of secrets only the place is shown.
    """

    EXAMPLE: ClassVar[str] = "bulksms config --config night.toml"
    ledger: LedgerName | None = argument("[LEDGER]", LEDGER, default=None)
    all: bool = option(False, "Also the settings that have their defaults.")
    SETTINGS_ONLY: ClassVar[bool] = True
    sending: SendOptions


KINDS: Mapping[str, type[Options]] = {
    "new": NewOptions,
    "send": SendOptions,
    "plan": PlanOptions,
    "approve": ApproveOptions,
    "resume": ResumeOptions,
    "work": WorkOptions,
    "retry": RetryOptions,
    "resolve": ResolveOptions,
    "status": StatusOptions,
    "stop": StopOptions,
    "pause": PauseOptions,
    "cancel": CancelOptions,
    "report": ReportOptions,
    "history": HistoryOptions,
    "check": CheckOptions,
    "verify": VerifyOptions,
    "purge": PurgeOptions,
    "export": ExportOptions,
    "import": ImportOptions,
    "config": ConfigOptions,
    "completion": CompletionOptions,
    "sandbox": SandboxOptions,
}
"""The options of each command, in the order of a message's life."""
SETTINGS: Mapping[str, DeclaredOption] = settings_of(KINDS)
"""Every setting by its key."""
