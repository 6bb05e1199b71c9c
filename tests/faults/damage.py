"""Copies of one ledger with bytes flipped at random, and every command on each of them.

`python -m tests.faults.damage 1000` is the long form. No command may end with 70, show a traceback, or hang; each that
does is printed, and the exit code is 1 then.
"""

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bulksms.cli.app import run
from bulksms.ledger import DraftRow, new_draft

COMMANDS = (
    "status LEDGER",
    "status LEDGER --json",
    "report LEDGER",
    "report LEDGER --format csv",
    "report LEDGER --format jsonl",
    "report LEDGER --format html",
    "report LEDGER --runs",
    "verify LEDGER",
    "history .",
    "config LEDGER",
    "resume LEDGER --quiet",
    "send LEDGER --yes --quiet",
    "retry LEDGER --only unknown,failed --yes --quiet",
    "resolve LEDGER --accepted 2 --yes",
    "cancel LEDGER",
    "purge LEDGER --yes",
)
INTERNAL_ERROR = 70


def make_ledger(path: Path, messages: int = 40) -> Path:
    """A ledger that was planned; a run makes it a used one."""
    rows = [
        DraftRow(row, f"CN=User {row},DC=x", f"dn:cn=user {row},dc=x", f"Text {row}", '{"name": "Ä"}', "GSM-7", 1)
        for row in range(2, messages + 2)
    ]
    with new_draft(path) as draft:
        draft.add(rows)
        draft.index()
        summary = f'{{"to_send": {messages}, "bad_rows": 0}}'
        return draft.keep(
            source="people.csv", columns=["name"], fingerprint=draft.fingerprint(), summary=summary, version="1.0"
        )


def flip(path: Path, chance: random.Random) -> None:
    """Change some bytes; half of the copies keep SQLite's first page, so that more of them open."""
    content = bytearray(path.read_bytes())
    start = chance.choice((0, 4096))
    for _ in range(chance.choice((1, 4, 20))):
        content[chance.randrange(start, len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def failures(ledger: Path, seed: int, commands: Sequence[str] = COMMANDS) -> Iterator[str]:
    """The commands that end wrongly on this copy, with their output."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for command in commands:
            copy = Path("people.ledger.db")
            shutil.copyfile(ledger, copy)
            flip(copy, chance)
            out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
            err = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(command.replace("LEDGER", str(copy)).split())
            if code == INTERNAL_ERROR or "Traceback" in err.getvalue():
                yield f"seed {seed}, {command}: {code}: {err.getvalue()[-1500:]}"
            for left in Path().iterdir():
                left.unlink()


def main(copies: int) -> int:
    """The long form; the number of wrong ends."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bulksms.sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(BULKSMS_URL=server.stdout.readline().strip(), BULKSMS_TOKEN="sandbox", BULKSMS_TRACEBACK="1")
        os.environ["XDG_STATE_HOME"] = folder
        ledgers = make_ledgers(Path(folder))
        for seed in range(copies):
            for failure in failures(ledgers[seed % len(ledgers)], seed):
                wrong += 1
                sys.stderr.write(failure + "\n")
    server.kill()
    server.communicate()
    return wrong


def make_ledgers(folder: Path) -> tuple[Path, Path]:
    """One that was planned only, and one that was sent; the server is the environment's."""
    planned, sent = make_ledger(folder / "planned.ledger.db"), make_ledger(folder / "sent.ledger.db")
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(io.StringIO()):
        code = run(["send", str(sent), "--yes", "--quiet", "--new"])
    assert code == 0
    return planned, sent


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1])) > 0)
