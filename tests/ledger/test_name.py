"""A ledger's name: what is a URL and what a path, what is refused, and how the connection is secured."""

from pathlib import Path

import pytest

from bulksms.errors import UsageError
from bulksms.ledger.name import DatabaseUrl, LedgerUrl, ledger_name

PEOPLE = "postgresql://db.example.com/messaging?ledger=people"


def dsn_and_mode(text: str, **environment: str) -> tuple[str | None, str | None]:
    arguments = LedgerUrl.parse(text).database.connection(environment)
    return arguments["dsn"], arguments.get("ssl")


def test_a_url_is_a_ledger_in_a_database_and_everything_else_a_path() -> None:
    name = ledger_name(PEOPLE)
    assert isinstance(name, LedgerUrl)
    assert (name.name, str(name.database), str(name)) == ("people", "postgresql://db.example.com/messaging", PEOPLE)
    for text in ("people.ledger.db", "postgresql", "C:/people.ledger.db", "postgresql:people.db", "./postgres/a.db"):
        assert ledger_name(text) == Path(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://anna@db.example.com:6432/messaging?sslrootcert=/etc/ssl/ca.pem&ledger=people-2026.07",
        "postgresql:///messaging?host=/run/postgresql&ledger=people",
        "postgresql:///?service=messaging&ledger=people",
        "postgresql://one,two:5433/messaging?target_session_attrs=primary&ledger=people",
        "postgresql://[::1]:5432/messaging?ledger=people",
        "postgresql://db/messaging?ledger=St%C3%B6rung",
    ],
)
def test_a_name_is_printed_as_it_is_written(text: str) -> None:
    assert str(LedgerUrl.parse(text)) == text
    assert LedgerUrl.parse(str(LedgerUrl.parse(text))) == LedgerUrl.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://anna:secret@db/messaging?ledger=people",
        "postgresql://anna:@db/messaging?ledger=people",
        "postgresql://db/messaging?password=secret&ledger=people",
        "postgresql://db/messaging?ledger=people&sslpassword=secret",
    ],
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        ledger_name(text)
    assert "~/.pgpass" in str(caught.value.hint)
    assert "secret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("postgresql://db/messaging", "names no ledger"),
        ("postgresql://db/?ledger=people", "names no database"),
        ("postgresql://db?ledger=people", "names no database"),
        ("postgresql://db/messaging?ledger=people#x", "names no database"),
        ("postgresql://db/messaging?legder=people", "no parameter legder"),
        ("postgresql://db/messaging?ledger=", "cannot be the name"),
        ("postgresql://db/messaging?ledger=a/b", "cannot be the name"),
        ("postgresql://db/messaging?ledger=-a", "cannot be the name"),
        ("postgresql://db/messaging?ledger=" + 101 * "a", "cannot be the name"),
        ("postgresql://db/messaging?people", "is no URL"),
        ("postgresql://db:x/messaging?ledger=people", "is no URL"),
        ("postgresql://[::1/messaging?ledger=people", "is no URL"),
    ],
)
def test_what_names_no_ledger_is_refused_with_what_would(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        ledger_name(text)
    assert caught.value.hint


def test_a_database_is_named_without_a_ledger() -> None:
    assert str(DatabaseUrl.parse("postgresql://db/messaging")) == "postgresql://db/messaging"
    with pytest.raises(UsageError, match="names a ledger"):
        DatabaseUrl.parse(PEOPLE)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://localhost/messaging?ledger=people",
        "postgresql://anna@127.0.0.1:5433/messaging?ledger=people",
        "postgresql://[::1]:5432/messaging?ledger=people",
        "postgresql:///messaging?ledger=people",
        "postgresql:///messaging?host=/run/postgresql&ledger=people",
        "postgresql://%2Frun%2Fpostgresql/messaging?ledger=people",
    ],
)
def test_on_this_machine_the_certificate_is_left_to_the_driver(text: str) -> None:
    assert dsn_and_mode(text)[1] is None


@pytest.mark.parametrize(
    "text",
    [
        PEOPLE,
        "postgresql://anna@10.0.0.7:5433/messaging?ledger=people",
        "postgresql://localhost,db.example.com/messaging?ledger=people",
        "postgresql:///messaging?host=db.example.com&ledger=people",
    ],
)
def test_of_another_machine_the_certificate_is_verified(text: str) -> None:
    assert dsn_and_mode(text)[1] == "verify-full"


def test_the_environment_can_name_another_machine_and_another_way() -> None:
    assert dsn_and_mode("postgresql:///messaging?ledger=people", PGHOST="db.example.com")[1] == "verify-full"
    assert dsn_and_mode(PEOPLE, PGSSLMODE="require")[1] is None
    assert dsn_and_mode(f"{PEOPLE}&sslmode=require") == ("postgresql://db.example.com/messaging?sslmode=require", None)


def test_a_service_file_says_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = tmp_path / "services"
    services.write_text(
        "[far]\nhost=db.example.com\n\n[own]\nhost=db.example.com\nsslmode=verify-ca\n\n[near]\nport=1\n"
    )
    environment = {"PGSERVICEFILE": str(services)}
    far, own, near = (
        dsn_and_mode(f"postgresql:///messaging?service={name}&ledger=people", **environment)[1]
        for name in ("far", "own", "near")
    )
    assert (far, own, near) == ("verify-full", None, None)
    with pytest.raises(UsageError, match="is in no service file"):
        dsn_and_mode("postgresql:///?service=other&ledger=people", **environment)
    services.write_text("host=db.example.com\n")
    with pytest.raises(UsageError, match="cannot be read"):
        dsn_and_mode("postgresql:///?service=far&ledger=people", **environment)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="is in no service file"):
        dsn_and_mode("postgresql:///?service=far&ledger=people")
