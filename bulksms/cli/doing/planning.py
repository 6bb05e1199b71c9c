"""Planning: what `plan` does: a ledger with everything queued, and its preview."""

from pathlib import Path
from typing import Any

from bulksms.cli.doing.looking_up import require_a_use
from bulksms.cli.doing.reading import InputChoice, ledger_for, read_into, reading_shown
from bulksms.cli.screen.console import unbroken_pipe
from bulksms.cli.screen.preview import echo, print_preview_json, show_preview
from bulksms.cli.settings.endpoint import EndpointOptions
from bulksms.config import RunSettings
from bulksms.ledger.draft import Draft, require_free
from bulksms.library.plans import keep
from bulksms.planning import Preview


def plan(source: str | None, ledger: Path | None, values: dict[str, Any]) -> None:
    """`bulksms plan`."""
    choice = InputChoice.of(source, values)
    if choice.look_up is None:
        require_a_use()
    url = None if values["url"] is None else EndpointOptions.of(values).url_or(None)
    path = ledger_for(choice, ledger)
    require_free(path)
    settings = RunSettings().changed(values)

    def print_json(preview: Preview) -> None:
        print_preview_json(preview, url, workers=settings.workers, rate=settings.rate)

    with Draft(path) as draft:
        bar = reading_shown(quiet=values["quiet"])
        preview = read_into(draft, choice, bar, print_json if values["as_json"] else None)
        keep(draft, preview)
    with unbroken_pipe():
        if values["as_json"]:
            print_json(preview)
            return
        if not values["quiet"]:
            show_preview(preview, echo, settings, url)
        echo(f"Planned: {path}. Send it with: bulksms send {path}")
