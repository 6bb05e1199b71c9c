"""Claiming: the same plan is not started a second time from another ledger, unless a person says so with `--new`.

Laws: looked at before a person is asked, claimed after that and before the first request. This user's own record must
not keep an alert from going out when it cannot be written; a folder that was named with `--claims` has to hold.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bulksms.claims import Claim, Claims
from bulksms.cli import say
from bulksms.cli.screen.result import quoted
from bulksms.errors import PlanRefused, UsageError
from bulksms.library.operator import operator
from bulksms.planning import many

Answer = TypeVar("Answer")


def own_record() -> Path:
    """Where this user's record of what was started lies on this machine."""
    from platformdirs import user_state_path  # noqa: PLC0415 - needed for sending only

    return user_state_path("bulksms", appauthor=False) / "started"


def claim_of(ledger: Path, fingerprint: str, identity: str | None, url: str, messages: int) -> Claim:
    """What would be claimed for this ledger."""
    user, host = operator()
    return Claim(fingerprint, url, identity, str(ledger.absolute()), user, host, messages)


def require_unclaimed(own: Claim, values: dict[str, Any]) -> None:
    """Raises PlanRefused if another ledger has started the same plan, UsageError if `--claims` cannot be looked at."""
    if values.get("new"):
        return
    for against in (_of_this_user(lambda claims: claims.against(own)), _shared(values, lambda it: it.against(own))):
        if against is not None:
            raise _refusal(against, own)


def claim(own: Claim, values: dict[str, Any]) -> None:
    """Claim the plan for this ledger. Raises PlanRefused if another one was first, UsageError as above."""
    in_spite = bool(values.get("new"))
    shared = _shared(values, lambda claims: claims.make(own, in_spite=in_spite))
    if shared is not None and not in_spite:
        raise _refusal(shared, own)
    recorded = _of_this_user(lambda claims: claims.make(own, in_spite=in_spite))
    if recorded is not None and not in_spite:
        raise _refusal(recorded, own)
    for against in dict.fromkeys(str(it) for it in (shared, recorded) if it is not None):
        say(f"The same plan was started from {against}; --new starts it all the same.")


def _of_this_user(look: Callable[[Claims], Answer]) -> Answer | None:
    """Ask this user's record; if that cannot be, it is said, and nothing else."""
    folder = own_record()
    try:
        return look(_kept_in(folder))
    except OSError as error:
        say(f"warning: this user's record of what was sent, {folder}, cannot be used: {error.strerror}.")
        return None


def _kept_in(folder: Path) -> Claims:
    """The record, without what is old. Where no home is known its path would begin with `~`."""
    if not folder.is_absolute():
        raise FileNotFoundError(errno.ENOENT, "this user has no home")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    claims = Claims(folder)
    claims.forget_old()
    return claims


def _shared(values: dict[str, Any], look: Callable[[Claims], Answer]) -> Answer | None:
    folder = values.get("claims")
    if folder is None:
        return None
    try:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder that is there")
        return look(Claims(folder, mode=0o666))
    except OSError as error:
        raise UsageError(
            f"The claims in {folder} cannot be used: {error.strerror}. Nothing was sent.",
            hint="--claims names a folder that every machine can reach and write to; leave it out to go without.",
        ) from error


def _refusal(against: Claim, own: Claim) -> PlanRefused:
    ledger = quoted(against.ledger)
    look = f"`bulksms status {ledger}` shows how far that is, `bulksms resume {ledger}` goes on with it"
    if against.host == own.host and not Path(against.ledger).exists():
        look = "That ledger is gone, and with it who was told"
    again = (
        f"`bulksms send {quoted(own.ledger)} --new` sends from this one" if own.identity else "--new sends everything"
    )
    plan = f"{many(against.messages, 'message')} to {against.url}"
    return PlanRefused(
        f"The same plan ({plan}) was started from {against}; nothing sent now.",
        hint=f"{look}; {again} all the same.",
    )
