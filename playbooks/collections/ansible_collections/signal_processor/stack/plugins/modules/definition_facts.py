"""Ask compose what the stack's definition and .env come to; return what the flow needs, never a secret."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.edge import APP, EDGE_SERVICE
from ansible_collections.signal_processor.stack.plugins.module_utils.settings import filled, volume_name
from ansible_collections.signal_processor.stack.plugins.module_utils.stack import DATABASE, PROJECT

DOCUMENTATION = """
module: definition_facts
short_description: Ports and the state of the settings in .env, read by compose's own parser
description:
  - C(error) is compose's line about a definition or .env it cannot read, without the value it stumbled over.
  - C(problems) names the values with which no stack can start, and what is allowed; no secret is in it.
  - C(has_edge) says whether the definition has that service.
  - C(tls) says whether the edge is to answer over TLS; C(tls_files) are the operator's certificate and key.
  - C(tls_has_ipv4) says whether TLS_DOMAIN has an IPv4 address, which TradingView needs; null if unknown.
  - C(password) is C(set), or C(default) where POSTGRES_PASSWORD is absent or empty.
options:
  project_dir: {type: path, required: true, description: "Folder of .env, and of what the definition names."}
  files: {type: list, elements: str, required: true, description: Compose files, later over earlier.}
  settings: {type: path, default: "", description: A folder whose .env counts instead of the one there.}
  template: {type: str, default: "", description: What .env will be made from; read where there is none yet.}
"""


EVERYWHERE = "0.0.0.0"  # noqa: S104  # where compose publishes a port that names no address
REACHED = (EVERYWHERE, "127.0.0.1")
HIGHEST_PORT = 65535
VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")  # as the engine has it
HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
LOOKUP_SECONDS = 3
NOT_FOUND = 2  # how getent says that there is no such address
TLS_PORT = 443  # where TLS is served unless .env says otherwise
ASSIGNED_PORT = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(SERVER_PORT|PROMETHEUS_PORT|TLS_PORT)[ \t]*="
    r"[ \t]*(.*?)(?:[ \t]+#.*)?[ \t\r]*$",
    re.MULTILINE,
)
# The variable behind a published port, by the port inside: the edge's, the app's, an app's that has no edge.
PORT_NAMES = {
    "8080": "SERVER_PORT",
    "8443": "TLS_PORT",
    "8008": "PROMETHEUS_PORT",
    "80": "SERVER_PORT",
    "443": "TLS_PORT",
}


def without_value(line: str) -> str:
    """Keep compose's words and cut what it quotes from the file: that may be half a secret."""
    return re.sub(r"(unterminated quoted value|unexpected character|in variable name).*", r"\1 …", line)


def port_problem(name: str, value: str) -> str:
    """Say why a port cannot be published; empty if it can."""
    if value.isascii() and value.isdigit() and 1 <= int(value) <= HIGHEST_PORT and value == str(int(value)):
        return ""
    return f"{name} must be a whole number from 1 to {HIGHEST_PORT} (it is {value!r})"


def port_problems(ports: dict[str, str]) -> list[str]:
    """Say which ports cannot be published, and which are the same. Pure."""
    found = [problem for name, value in ports.items() if (problem := port_problem(name, value))]
    by_value: dict[str, list[str]] = {}
    for name, value in ports.items():
        by_value.setdefault(value, []).append(name)
    return found + [
        f"{' and '.join(names)} are the same port ({value}): each port of the stack must be different"
        for value, names in by_value.items()
        if len(names) > 1 and not port_problem("", value)
    ]


def written_ports(text: str) -> dict[str, str]:
    """Return the ports that the text of .env assigns, for a file that compose cannot resolve. Pure."""
    assignments = ASSIGNED_PORT.findall(text)
    ports = {name: value.strip("'\"").rpartition(":")[2] for name, value in assignments}
    return {name: port for name, port in ports.items() if port and "$" not in port}


def has_tls(environment: dict[str, str]) -> bool:
    """Whether the edge is to answer over TLS. Pure."""
    return bool(environment.get("TLS_CERT_FILE") or environment.get("TLS_DOMAIN"))


def has_ipv4(name: str) -> bool | None:
    """Whether a host name has an IPv4 address; None where that is not known within 3 s."""
    if not HOST_NAME.fullmatch(name):
        return None
    try:
        done = subprocess.run(
            ["getent", "ahostsv4", name], capture_output=True, check=False, timeout=LOOKUP_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {0: True, NOT_FOUND: False}.get(done.returncode)


def published_ports(config: dict[str, Any], app: str, database: str, edge: str) -> list[dict[str, str]]:
    """Return name, address and port of all that the stack publishes, as written; TLS where it is on."""
    found = [
        {
            "name": PORT_NAMES.get(str(port["target"]), f"the port {port['target']} of {name}"),
            "address": port.get("host_ip", EVERYWHERE),
            "port": str(port["published"]),
        }
        for name in (database, app, edge)
        for port in config["services"].get(name, {}).get("ports", [])
    ]
    environment = config["services"][app].get("environment", {})
    if has_tls(environment) and "TLS_PORT" not in {one["name"] for one in found}:
        tls = str(environment.get("TLS_PORT") or TLS_PORT)
        found.append({"name": "TLS_PORT", "address": EVERYWHERE, "port": tls})
    return found


def address_problems(ports: list[dict[str, str]]) -> list[str]:
    """Say where the health gate, which asks 127.0.0.1, would not reach the application. Pure."""
    return [
        f"{one['name']} must be a port alone: the health gate does not ask {one['address']}"
        for one in ports
        if one["name"] == "SERVER_PORT" and one["address"] not in REACHED
    ]


def is_network(word: str) -> bool:
    """Whether the edge reads a word as an address or a network; `*` is every address. Pure."""
    try:
        ip_network(word, strict=False)
    except ValueError:
        return word == "*"
    return "%" not in word


def proxy_problems(text: str) -> list[str]:
    """Say which words of TRUSTED_PROXIES are no address: the edge would trust no proxy at all. Pure."""
    return [
        f"TRUSTED_PROXIES (or FORWARDED_ALLOW_IPS) must be IP addresses and networks (one is {word!r})"
        for word in text.replace(",", " ").split()
        if not is_network(word)
    ]


def database_url(text: str) -> tuple[SplitResult, list[str]]:
    """Return the parts of DATABASE_URL and why it cannot be read; no message shows its password."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return urlsplit(""), ["DATABASE_URL is not a valid URL (brackets and the port are checked first)"]
    return url, []


def volume_problems(config: dict[str, Any], database: str, written: str) -> list[str]:
    """Say where the volume that .env names is not the one that compose would use. Pure."""
    mounts = config["services"][database].get("volumes", [])
    used = {config.get("volumes", {}).get(mount.get("source"), {}).get("name") for mount in mounts}
    if not written or (written in used and VOLUME_NAME.fullmatch(written)):
        return []
    allowed = "the plain name of a volume (letters, digits, _ . and -)"
    return [f"POSTGRES_VOLUME must be {allowed}, and this version's docker-compose.yml must use it"]


def reserved(config: dict[str, Any], app: str, project: str) -> list[str]:
    """Say which names in .env take away what run.py itself decides. Pure."""
    found = []
    if config["name"] != project:
        found.append(f"COMPOSE_PROJECT_NAME must not be set: the stack's name is {project}")
    if "APP_VERSION" in config["services"][app].get("environment", {}):
        found.append("APP_VERSION must not be set: it is the version of the image")
    return found


def settings_of(config: dict[str, Any], app: str, database: str, edge: str, project: str) -> dict[str, Any]:
    """Reduce the resolved definition to facts that may be shown."""
    service = config["services"][app]
    environment = {key: value or "" for key, value in service.get("environment", {}).items()}
    password = config["services"][database]["environment"]["POSTGRES_PASSWORD"]
    url, problems = database_url(environment.get("DATABASE_URL", ""))
    ports = published_ports(config, app, database, edge)
    values = {one["name"]: one["port"] for one in ports}
    proxies = config["services"].get(edge, {}).get("environment", {}).get("TRUSTED_PROXIES") or ""
    if (tls_port := environment.get("TLS_PORT")) and "TLS_PORT" not in values:
        problems += filter(None, [port_problem("TLS_PORT", tls_port)])  # it counts as soon as TLS is on
    return {
        "problems": [
            *port_problems(values),
            *address_problems(ports),
            *proxy_problems(proxies),
            *problems,
            *reserved(config, app, project),
        ],
        "password": "set" if environment.get("POSTGRES_PASSWORD") else "default",
        "url_host": url.hostname or "",
        "url_database": url.path.lstrip("/"),
        "url_user": url.username or "",
        "url_agrees": unquote(url.password or "") == password,
        "webhook_secret": bool(environment.get("WEBHOOK_SECRET")),
        "admin_token": bool(environment.get("ADMIN_TOKEN")),
        "destination": bool(environment.get("DEST_WEBHOOK_URL")),
        "tls": has_tls(environment),
        "tls_files": [
            environment[name] for name in ("TLS_CERT_FILE", "TLS_KEY_FILE") if environment.get(name)
        ],
        "tls_domain": environment.get("TLS_DOMAIN", ""),
        "server_port": port_of(values, "SERVER_PORT"),
        "operations_port": port_of(values, "PROMETHEUS_PORT"),
        "has_edge": edge in config["services"],
        "ports": [
            {"address": one["address"], "port": int(one["port"])}
            for one in ports
            if not port_problem("", one["port"])
        ],
    }


def port_of(values: dict[str, str], name: str) -> int:
    """Return a port that can be published; 0 for one that cannot. Pure."""
    value = values.get(name, "")
    return 0 if port_problem("", value) else int(value)


def resolve(project_dir: str, files: list[str]) -> subprocess.CompletedProcess[str]:
    """Have compose resolve the files with the .env of a folder; they may lie elsewhere (an exported tree)."""
    argv = ["docker", "compose", "--project-directory", project_dir]
    argv += [part for file in files for part in ("-f", file)]
    argv += ["config", "--format", "json"]
    return subprocess.run(argv, cwd=project_dir, capture_output=True, text=True, check=False)


def resolve_without_settings(template: str, files: list[str]) -> subprocess.CompletedProcess[str]:
    """Do the same for a checkout that has no .env yet, with stand-ins for the secrets that it will get."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, ".env").write_text(filled(template, lambda: "fresh"))
        return resolve(folder, files)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Have compose read the definition; that it cannot is an answer, too. Raises Failure."""
    folder = params["settings"] or params["project_dir"]
    if params["template"] and not Path(folder, ".env").exists():
        try:
            done = resolve_without_settings(params["template"], params["files"])
        except ValueError as error:
            raise Failure(
                f".env cannot be made from .env.example: {error}. Bring that back: git restore .env.example"
            ) from error
    else:
        done = resolve(folder, params["files"])
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("time=")]
        error = without_value(lines[-1] if lines else "no reason given")
        try:
            written = written_ports(Path(folder, ".env").read_text(errors="replace"))
        except OSError:
            written = {}  # compose's own line says so
        return {"changed": False, "definition": {"error": error, "problems": port_problems(written)}}
    config = json.loads(done.stdout)
    settings = settings_of(config, APP, DATABASE, EDGE_SERVICE, PROJECT)
    settings["problems"] += volume_problems(config, DATABASE, volume_name(folder, ""))
    settings["tls_has_ipv4"] = has_ipv4(settings["tls_domain"])
    return {"changed": False, "definition": {"error": "", **settings}}


MODULE = Module(
    answer,
    {
        "project_dir": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "settings": {"type": "path", "default": ""},
        "template": {"type": "str", "default": ""},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
