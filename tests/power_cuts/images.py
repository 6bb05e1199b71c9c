"""Images: what may be on the disk after a power cut, from a recording, and whether each tells the truth.

A file holds what was written before its last sync. Of what was written since, any part may be there: some writes and
not others, in any order, torn at 512 bytes. A file that was made or removed since the folder's last sync may be there
or not.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bulksms.errors import BulksmsError, LedgerError
from bulksms.ledger import Recovery, ledger_at, open_ledger
from bulksms.model.message import State
from tests.power_cuts.recording import LEDGER, Event, Recording

SECTOR = 512


@dataclass
class File:
    """One file on a disk that may lose its power."""

    durable: bytearray
    pending: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        """Everything that was written is there for good."""
        for event in self.pending:
            apply(self.durable, event)
        self.pending.clear()

    def image(self, chance: random.Random) -> bytearray:
        """What may be there: nothing, everything or any part of what was not synced."""
        content = bytearray(self.durable)
        match chance.choice(["none", "all", "some", "some", "torn"]):
            case "none":
                pending = []
            case "all":
                pending = list(self.pending)
            case "some":
                pending = [event for event in self.pending if chance.random() < 0.5]
                chance.shuffle(pending)
            case _:
                pending = [part for event in self.pending for part in torn(event) if chance.random() < 0.7]
                chance.shuffle(pending)
        for event in pending:
            apply(content, event)
        return content


def apply(content: bytearray, event: Event) -> None:
    """Write or truncate."""
    if event.kind == "truncate":
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
    else:
        content.extend(bytes(max(0, event.offset - len(content))))
        content[event.offset : event.offset + len(event.data)] = event.data


def torn(event: Event) -> Iterator[Event]:
    """A write by its sectors: a disk writes each whole or not at all."""
    if event.kind == "truncate":
        yield event
        return
    first = event.offset
    while first < event.offset + len(event.data):
        last = min((first // SECTOR + 1) * SECTOR, event.offset + len(event.data))
        yield Event("write", event.file, first, event.data[first - event.offset : last - event.offset])
        first = last


class Disk:
    """The files of a ledger, as a recording changes them."""

    def __init__(self, before: dict[str, bytes]) -> None:
        self.files = {name: File(bytearray(content)) for name, content in before.items()}
        self.entries = set(self.files)
        """The names that are in the folder for good."""
        self.removed: dict[str, File] = {}

    def see(self, event: Event) -> None:
        """One more event."""
        match event.kind:
            case "create":
                self.files[event.file] = File(bytearray())
            case "remove":
                self.removed[event.file] = self.files.pop(event.file)
            case "folder":
                self.entries = set(self.files)
                self.removed.clear()
            case "sync":
                self.files[event.file].sync()
            case "write" | "truncate":
                self.files[event.file].pending.append(event)

    def image(self, chance: random.Random) -> dict[str, bytearray]:
        """The files that may be there after a power cut at this moment."""
        image = {name: file.image(chance) for name, file in self.files.items() if name in self.entries}
        for name, file in self.files.items():
            if name not in self.entries and chance.random() < 0.5:
                image[name] = file.image(chance)
        for name, file in self.removed.items():
            if name not in image and name in self.entries and chance.random() < 0.5:
                image[name] = file.image(chance)
        return image


@dataclass
class Judgement:
    """What came of the images of a recording."""

    images: int = 0
    unreadable: int = 0
    """Could not be read as they were; a run that opens them for writing has to be able to."""
    lies: list[str] = field(default_factory=list)


def judge(recording: Recording, images: int, folder: Path, chance: random.Random) -> Judgement:
    """Make so many images at boundaries all over the recording, and hold each to the promise."""
    judgement = Judgement()
    disk, left = Disk(recording.before), dict[str, int]()
    at = sorted(chance.randint(1, len(recording.events)) for _ in range(images))
    for number, event in enumerate(recording.events, 1):
        if event.kind == "request":
            left[event.recipient] = left.get(event.recipient, 0) + 1
        else:
            disk.see(event)
        while at and at[0] == number:
            at.pop(0)
            judgement.images += 1
            image = disk.image(chance)
            for lie in lies_of(image, left, folder, judgement):
                judgement.lies.append(f"event {number} of {len(recording.events)} ({event.kind} {event.file}): {lie}")
    return judgement


def lies_of(image: dict[str, bytearray], left: dict[str, int], folder: Path, judgement: Judgement) -> Iterator[str]:
    """Whom the image calls `queued` although a request for them had left, as a reader and after recovery."""
    for path in folder.iterdir():
        path.unlink()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    ledger = folder / LEDGER
    try:
        yield from _queued(ledger, left, "a reader")
    except BulksmsError:
        judgement.unreadable += 1
    try:
        ledger_at(ledger).recover(Recovery(State.UNKNOWN, 5), "test")
    except LedgerError as error:
        # It refuses, with a way on, and sends to nobody. What it must not be is a dead end for an intact file.
        if "log" not in str(error):
            yield f"it cannot be recovered: {error}"
        return
    yield from _queued(ledger, left, "after recovery")


def _queued(ledger: Path, left: dict[str, int], when: str) -> Iterator[str]:
    with open_ledger(ledger) as reader:
        for message in reader.messages():
            # Queued again after an answer that proves it unsent: then the ledger knows of as many attempts.
            if message.state is State.QUEUED and message.attempts < left.get(message.recipient, 0):
                yield f"{when}: {message.recipient} is queued, {left[message.recipient]} had left"
