"""A power cut at any boundary leaves a ledger that calls nobody `queued` to whom a request had left."""

import random
from pathlib import Path

import pytest

from tests.power_cuts.images import Disk, File, apply, judge, torn
from tests.power_cuts.recording import Event, Recording, is_possible, record

needs_strace = pytest.mark.skipif(not is_possible(), reason="there is no strace here, or it may not look at processes")


@needs_strace
@pytest.mark.parametrize("faults", [False, True], ids=["good", "faults"])
def test_no_image_calls_anybody_queued_whose_request_had_left(tmp_path: Path, *, faults: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "image").mkdir()
    recording = record(tmp_path / "run", 20, faults=faults, killed=False)
    kinds = {event.kind for event in recording.events}
    assert {"write", "sync", "request"} <= kinds
    chance = random.Random(random.getrandbits(32))
    judgement = judge(recording, 80, tmp_path / "image", chance)
    assert judgement.lies == []
    assert judgement.images == 80


@needs_strace
def test_a_request_before_the_sync_of_its_intent_is_found(tmp_path: Path) -> None:
    """The judge has teeth: the same recording, with its requests moved to the front, has images that lie."""
    (tmp_path / "run").mkdir()
    (tmp_path / "image").mkdir()
    recording = record(tmp_path / "run", 10, faults=False, killed=False)
    requests = [event for event in recording.events if event.kind == "request"]
    others = [event for event in recording.events if event.kind != "request"]
    middle = len(others) // 3
    early = Recording(recording.before, [*others[:middle], *requests, *others[middle:]])
    assert judge(early, 40, tmp_path / "image", random.Random(1)).lies


def test_what_was_synced_is_in_every_image() -> None:
    file = File(bytearray(b"before"))
    file.pending.append(Event("write", "f", 0, b"synced"))
    file.sync()
    assert all(file.image(random.Random(seed)) == b"synced" for seed in range(50))


def test_what_was_not_synced_may_be_there_lost_or_torn() -> None:
    file = File(bytearray(1024))
    file.pending.append(Event("write", "f", 0, b"x" * 1024))
    images = {bytes(file.image(random.Random(seed))) for seed in range(100)}
    assert images == {bytes(1024), b"x" * 1024, b"x" * 512 + bytes(512), bytes(512) + b"x" * 512}


def test_a_write_is_torn_at_the_sectors_of_the_disk() -> None:
    parts = list(torn(Event("write", "f", 500, b"x" * 600)))
    assert [(part.offset, len(part.data)) for part in parts] == [(500, 12), (512, 512), (1024, 76)]


def test_truncating_beyond_the_end_adds_zeros() -> None:
    content = bytearray(b"ab")
    apply(content, Event("truncate", "f", 4))
    assert content == b"ab\0\0"


def test_a_new_file_may_be_lost_until_its_folder_is_synced() -> None:
    disk = Disk({})
    disk.see(Event("create", "log"))
    assert {len(disk.image(random.Random(seed))) for seed in range(50)} == {0, 1}
    disk.see(Event("folder"))
    assert {len(disk.image(random.Random(seed))) for seed in range(50)} == {1}


def test_a_removed_file_may_come_back_until_its_folder_is_synced() -> None:
    disk = Disk({"journal": b"j"})
    disk.see(Event("remove", "journal"))
    assert {len(disk.image(random.Random(seed))) for seed in range(50)} == {0, 1}
    disk.see(Event("folder"))
    assert {len(disk.image(random.Random(seed))) for seed in range(50)} == {0}
