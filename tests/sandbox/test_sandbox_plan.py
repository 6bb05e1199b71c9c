"""The fault plan: which recipient meets which faults."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.errors import UsageError
from bulksms.sandbox import Fault, FaultPlan, Share, parse_faults

names = st.text(min_size=1, max_size=60)


@given(st.lists(names, unique=True, max_size=30), st.randoms(use_true_random=False), st.integers())
def test_a_recipients_faults_depend_on_seed_and_name_alone(recipients: list[str], order: object, seed: int) -> None:
    shares = {"drop_after": 0.3, "429,503": 0.3}
    first = FaultPlan.by_share(shares, seed=seed)
    scripts = {recipient: first.script(recipient) for recipient in recipients}
    getattr(order, "shuffle")(recipients)  # noqa: B009 - hypothesis gives the type no name
    again = FaultPlan.by_share(shares, seed=seed)
    assert {recipient: again.script(recipient) for recipient in recipients} == scripts


def test_another_seed_chooses_other_recipients() -> None:
    recipients = [f"CN=User {number}" for number in range(200)]
    chosen = [
        {recipient for recipient in recipients if FaultPlan.by_share({"503": 0.5}, seed=seed).script(recipient)}
        for seed in (1, 2)
    ]
    assert chosen[0] != chosen[1]


def test_shares_are_parts_of_all_recipients() -> None:
    plan = FaultPlan.by_share({"503": 0.2, "429,500": 0.1, "404": 0.0})
    scripts = [plan.script(f"CN=User {number},DC=example") for number in range(10_000)]
    assert scripts.count((Fault.STATUS_503,)) == pytest.approx(2000, abs=200)
    assert scripts.count((Fault.STATUS_429, Fault.STATUS_500)) == pytest.approx(1000, abs=150)
    assert scripts.count(()) == pytest.approx(7000, abs=250)


@given(names)
def test_shares_that_add_up_to_one_leave_nobody_out(recipient: str) -> None:
    assert FaultPlan.by_share({"503": 0.5, "500": 0.5}).script(recipient) or "[" in recipient


@given(names)
def test_without_faults_all_is_well(recipient: str) -> None:
    assert FaultPlan.none().script(recipient) == () or "[" in recipient


MARKERS = {
    "CN=Anna [429],DC=x": (Fault.STATUS_429,),
    r"CN=Anna [429\,503],DC=x": (Fault.STATUS_429, Fault.STATUS_503),
    "CN=Anna [429, 503*2],DC=x": (Fault.STATUS_429, Fault.STATUS_503, Fault.STATUS_503),
    "CN=Anna [Sales] [drop_after],DC=x": (Fault.DROP_AFTER,),
    "CN=Anna [ok\\,429],DC=x": (Fault.OK, Fault.STATUS_429),
    "CN=Anna [Sales],DC=x": (),
    "CN=Anna [429\\,Sales],DC=x": (),
    "CN=Anna [429*0],DC=x": (),
    "CN=Anna [429*1001],DC=x": (),
    "CN=Anna [],DC=x": (),
    "CN=Anna [429,DC=x": (),
    "7a4267ce-d354-44e7-8bd6-c681f1284a41": (),
}


@pytest.mark.parametrize(("recipient", "faults"), MARKERS.items())
def test_a_marker_in_the_name_asks_for_faults(recipient: str, faults: tuple[Fault, ...]) -> None:
    assert FaultPlan.none().script(recipient) == faults


def test_an_entry_of_its_own_beats_a_marker_and_a_marker_beats_the_shares() -> None:
    plan = FaultPlan((Share(1.0, (Fault.STATUS_500,)),), {"CN=A [429]": (Fault.STATUS_404,), "CN=Good": ()})
    assert plan.script("CN=A [429]") == (Fault.STATUS_404,)
    assert plan.script("CN=Good") == ()
    assert plan.script("CN=B [429]") == (Fault.STATUS_429,)
    assert plan.script("CN=B") == (Fault.STATUS_500,)


def test_the_preset_leaves_most_recipients_alone_and_is_always_the_same() -> None:
    recipients = [f"CN=User {number},OU=Staff,DC=example,DC=com" for number in range(1000)]
    scripts = [FaultPlan.preset().script(recipient) for recipient in recipients]
    assert scripts == [FaultPlan.preset().script(recipient) for recipient in recipients]
    assert 500 < scripts.count(()) < 800
    met = {fault for script in scripts for fault in script}
    assert {Fault.STATUS_429_RETRY_AFTER, Fault.STATUS_503, Fault.DROP_AFTER, Fault.RESULT_SUSPENDED} <= met


@pytest.mark.parametrize("shares", [{"503": 1.1}, {"503": -0.1}, {"503": 0.6, "500": 0.6}])
def test_shares_that_cannot_be_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UsageError) as refused:
        FaultPlan.by_share(shares)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("listed", "hint"),
    [("drop_aftr", "drop_after"), ("zzzzzz", "The faults are"), ("429*x", "429*3"), ("429,", "The faults are")],
)
def test_an_unknown_fault_is_refused_with_the_nearest_name(listed: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_faults(listed)
    assert hint in str(refused.value.hint)


TOML = """
seed = 7
[[rules]]
share = 0.05
faults = ["429_retry_after", "503*2"]
[[rules]]
recipient = "CN=Anna"
faults = "drop_after,500"
[[rules]]
recipient = "CN=Good"
faults = []
"""
RULES = [
    {"share": 0.05, "faults": ["429_retry_after", "503*2"]},
    {"recipient": "CN=Anna", "faults": "drop_after,500"},
    {"recipient": "CN=Good", "faults": []},
]


@pytest.mark.parametrize(
    ("name", "content"), [("faults.toml", TOML), ("faults.json", json.dumps({"seed": 7, "rules": RULES}))]
)
def test_a_file_says_the_same_as_toml_and_as_json(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    plan = FaultPlan.from_option(str(file))
    assert plan == FaultPlan(
        (Share(0.05, (Fault.STATUS_429_RETRY_AFTER, Fault.STATUS_503, Fault.STATUS_503)),),
        {"CN=Anna": (Fault.DROP_AFTER, Fault.STATUS_500), "CN=Good": ()},
        7,
    )


def test_the_option_chooses_none_the_preset_or_a_file() -> None:
    assert FaultPlan.from_option(None) == FaultPlan.none()
    assert FaultPlan.from_option("preset") == FaultPlan.preset()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"rules = ["),
        ("a.toml", b"\xff"),
        ("a.toml", b"seed = 1"),
        ("a.json", b"[1]"),
        ("a.json", b"{"),
        ("a.json", b'{"rules": [{"faults": ["503"]}]}'),
        ("a.json", b'{"rules": [{"faults": ["503"], "share": 0.1, "recipient": "CN=A"}]}'),
        ("a.json", b'{"rules": [{"faults": ["503"], "shares": 0.1}]}'),
        ("a.json", b'{"rules": [{"faults": ["50x"], "share": 0.1}]}'),
        ("a.json", b'{"rules": [{"faults": ["503"], "share": 2}]}'),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_a_hint(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as refused:
        FaultPlan.load(tmp_path / name)
    assert refused.value.hint


def test_a_file_that_is_not_there_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as refused:
        FaultPlan.load(tmp_path / "missing.toml")
    assert "preset" in str(refused.value.hint)
