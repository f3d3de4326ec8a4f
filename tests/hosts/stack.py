"""The product on a throw-away host, used the way its operator and a trader's alerts use it."""

from __future__ import annotations

import functools
import json
import re
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.hosts import document
from tests.hosts.checkout import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hosts.docker import Result
    from tests.hosts.host import Host

APP = "trading-signal-processor"
DATABASE = "trading-db"
EDGE = "trading-edge"
STANDIN = "trading-signal-processor-standin"
FINAL = ("forwarded", "rejected", "failed", "expired")

_SECRETS = ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET", "WEBHOOK_SIGNING_SECRET")
_FLOW_SECONDS = 600


@dataclass(frozen=True)
class Container:
    """The identity of one run of a container: it changes with a replacement or restart."""

    id: str
    started_at: str


class SecretPrintedError(AssertionError):
    """A flow printed the value of a secret."""


class Stack:
    """One checkout on a host, and the stack that it deploys."""

    def __init__(self, host: Host, project: str = PROJECT) -> None:
        self.host = host
        self.project = project
        self._base = f"http://{host.address}"

    # -- the operator ---------------------------------------------------------------------------------------

    def run_py(
        self, *arguments: str, timeout: float = _FLOW_SECONDS, exported: Mapping[str, str] | None = None
    ) -> Result:
        """Run `python3 run.py …` without a terminal. Its output is searched for the stack's secrets.

        A document is validated against the schema in docs/. `exported` are variables of the operator's shell.
        """
        variables = [shlex.quote(f"{name}={value}") for name, value in (exported or {}).items()]
        command = " ".join([*(["env", *variables] if variables else []), "python3 run.py", *arguments])
        result = self.host.run(command, folder=self.project, timeout=timeout)
        settings = self.settings()
        for name in _SECRETS:
            if settings.get(name) and settings[name] in result.output:
                raise SecretPrintedError(f"`{result.command}` printed the value of {name}")
        if "--json" in arguments:
            document.check(result.stdout)
        return result

    def settings(self) -> dict[str, str]:
        """Return the assignments in `.env`, as written; empty where there is no such file yet."""
        text = self.host.run("cat .env", folder=self.project).stdout
        return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))

    def configure(self, **values: str) -> None:
        """Set variables in `.env`, keeping its other lines; the next flow applies them."""
        text = self.host.read(f"{self.project}/.env")
        for name, value in values.items():
            kept = [line for line in text.splitlines() if not line.startswith(f"{name}=")]
            text = "\n".join([*kept, f"{name}={value}", ""])
        self.host.write(f"{self.project}/.env", text, mode=0o600)

    def approve(self, *tickers: str) -> None:
        """Make `config/finviz_config.json` name exactly these tickers, by a `list:` strategy."""
        strategy = {"name": "test", "url": f"list:{','.join(tickers)}", "top_n": len(tickers)}
        content = json.dumps({"active": "test", "strategies": [strategy]}, indent=2)
        self.host.write(f"{self.project}/config/finviz_config.json", content, mode=0o600)

    # -- the outside world ----------------------------------------------------------------------------------

    def post(self, body: bytes, **headers: str) -> requests.Response:
        """Send one alert, with the secret in its header unless `headers` are given."""
        return requests.post(
            self.webhook_url, data=body, headers={"X-Webhook-Secret": self.secret, **headers}, timeout=10
        )

    @functools.cached_property
    def secret(self) -> str:
        """Return the webhook secret; made by the first deployment and never changed by a flow."""
        return self.settings()["WEBHOOK_SECRET"]

    @property
    def webhook_url(self) -> str:
        """Return the URL of the webhook."""
        return f"{self._base}/webhook/in"

    @property
    def health_url(self) -> str:
        """Return the URL of the health answer."""
        return f"{self._base}/health"

    def health(self) -> dict[str, Any]:
        """Return the answer of `/health`; raises unless it is 200."""
        answer = requests.get(self.health_url, timeout=5)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def settled_health(self, within: float = 20) -> dict[str, Any]:
        """Return the first "healthy" answer, or the last: a new process is degraded until it has a list."""
        end = time.monotonic() + within
        while (body := self.health())["status"] != "healthy" and time.monotonic() < end:
            time.sleep(0.2)
        return body

    # -- internals ------------------------------------------------------------------------------------------

    def containers(self) -> dict[str, Container]:
        """Return the running containers by name."""
        listing = self.host.run(
            "docker ps --quiet --no-trunc"
            " | xargs --no-run-if-empty docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}}'"
        ).require()
        rows = (line.split() for line in listing.stdout.splitlines())
        return {name.removeprefix("/"): Container(id_, started) for name, id_, started in rows}

    def app_process(self) -> int:
        """Return the process id of the application on the host."""
        inspect = self.host.run(f"docker inspect --format '{{{{.State.Pid}}}}' {APP}").require()
        return int(inspect.stdout)

    def app_memory(self) -> int:
        """Return the resident memory of the application's process, in bytes."""
        status = self.host.read(f"/proc/{self.app_process()}/status")
        (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kilobytes) * 1024

    def sql(self, statement: str) -> list[list[str]]:
        """Run a statement by the database's own client; return rows of texts."""
        answer = self.host.run(
            f"docker exec --interactive {DATABASE} psql -U postgres -d trading_signals -X -q -At -F '\t'"
            " -v ON_ERROR_STOP=1 -f -",
            stdin=statement.encode(),
            timeout=300,
        ).require()
        return [line.split("\t") for line in answer.stdout.splitlines()]

    def kept_rows(self) -> list[list[list[str]]]:
        """Return everything of the database that a flow must not lose."""
        return [
            self.sql("SELECT id, status, reason, ticker, md5(body) FROM signals ORDER BY seq"),
            self.sql("SELECT id, ticker, status, buys, opened_by, closed_by FROM positions ORDER BY id"),
            self.sql("SELECT id, signal_id, outcome FROM attempts ORDER BY id"),
        ]

    def head(self) -> str:
        """Return the commit of the checkout."""
        return self.host.run("git rev-parse HEAD", folder=self.project).require().stdout.strip()

    def outcome(self, signal_id: str, *, within: float = 10) -> tuple[str, str]:
        """Wait for a signal's final status up to `within` seconds; return status and reason."""
        where = f"WHERE id = '{signal_id}'"
        self.wait_until(f"EXISTS (SELECT FROM signals {where} AND status IN {FINAL})", within)
        ((status, reason),) = self.sql(f"SELECT status, reason FROM signals {where}")  # noqa: S608 - our uuid
        return status, reason

    def wait_until(self, condition: str, within: float) -> None:
        """Wait inside the database until an SQL condition holds; raises after `within` seconds."""
        message = condition.replace("'", "")
        self.sql(
            f"""
            DO $$
            DECLARE give_up timestamptz := clock_timestamp() + interval '{within} s';
            BEGIN
                WHILE NOT ({condition}) LOOP
                    IF clock_timestamp() > give_up THEN
                        RAISE 'not within {within} s: {message}';
                    END IF;
                    PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();  -- or activity stays as it was
                END LOOP;
            END $$;
            """
        )
