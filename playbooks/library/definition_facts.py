"""Ask compose what the stack's definition and .env come to; return what the flow needs, never a secret."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible.module_utils.entry import Module

DOCUMENTATION = """
module: definition_facts
short_description: Ports and the state of the settings in .env, read by compose's own parser
description:
  - C(error) is compose's line about a definition or .env it cannot read, without the value it stumbled over.
  - C(password) is C(set), or C(default) where POSTGRES_PASSWORD is absent or empty.
options:
  project_dir: {type: path, required: true, description: "Folder of .env, and of what the definition names."}
  files: {type: list, elements: str, required: true, description: Compose files, later over earlier.}
  template: {type: str, default: "", description: What .env will be made from; read where there is none yet.}
  app: {type: str, required: true, description: Name of the application's service.}
  database: {type: str, required: true, description: Name of the database's service.}
"""


EVERYWHERE = "0.0.0.0"  # noqa: S104  # where compose publishes a port that names no address


def without_value(line: str) -> str:
    """Keep compose's words and cut what it quotes from the file: that may be half a secret."""
    return re.sub(r"(unterminated quoted value|unexpected character|in variable name).*", r"\1 …", line)


def settings_of(config: dict[str, Any], app: str, database: str) -> dict[str, Any]:
    """Reduce the resolved definition to facts that may be shown."""
    service = config["services"][app]
    environment = {key: value or "" for key, value in service.get("environment", {}).items()}
    password = config["services"][database]["environment"]["POSTGRES_PASSWORD"]
    url = urlsplit(environment.get("DATABASE_URL", ""))
    published = {str(port["target"]): port for port in service.get("ports", [])}
    tls = bool(environment.get("TLS_CERT_FILE"))
    beside = [{"address": EVERYWHERE, "port": int(environment.get("TLS_PORT") or 443)}] if tls else []
    return {
        "password": "set" if environment.get("POSTGRES_PASSWORD") else "default",
        "url_host": url.hostname or "",
        "url_database": url.path.lstrip("/"),
        "url_user": url.username or "",
        "url_agrees": unquote(url.password or "") == password,
        "webhook_secret": bool(environment.get("WEBHOOK_SECRET")),
        "admin_token": bool(environment.get("ADMIN_TOKEN")),
        "destination": bool(environment.get("DEST_WEBHOOK_URL")),
        "tls": tls,
        "server_port": int(published["80"]["published"]),
        "ports": [
            {"address": port.get("host_ip", EVERYWHERE), "port": int(port["published"])}
            for name in (database, app)
            for port in config["services"][name].get("ports", [])
        ]
        + beside,
    }


def resolve(project_dir: str, files: list[str]) -> subprocess.CompletedProcess[str]:
    """Have compose resolve the files with the .env of a folder; they may lie elsewhere (an exported tree)."""
    argv = ["docker", "compose", "--project-directory", project_dir]
    argv += [part for file in files for part in ("-f", file)]
    argv += ["config", "--format", "json"]
    return subprocess.run(argv, cwd=project_dir, capture_output=True, text=True, check=False)


def resolve_without_settings(template: str, files: list[str]) -> subprocess.CompletedProcess[str]:
    """Do the same for a checkout that has no .env yet, with stand-ins for the secrets that it will get."""
    secrets = re.compile(r"^(POSTGRES_PASSWORD|ADMIN_TOKEN|WEBHOOK_SECRET)=$", re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, ".env").write_text(secrets.sub(r"\1=fresh", template))
        return resolve(folder, files)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Have compose read the definition; that it cannot is an answer, too."""
    if params["template"] and not Path(params["project_dir"], ".env").exists():
        done = resolve_without_settings(params["template"], params["files"])
    else:
        done = resolve(params["project_dir"], params["files"])
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("time=")]
        error = without_value(lines[-1] if lines else "no reason given")
        return {"changed": False, "definition": {"error": error}}
    settings = settings_of(json.loads(done.stdout), params["app"], params["database"])
    return {"changed": False, "definition": {"error": "", **settings}}


MODULE = Module(
    answer,
    {
        "project_dir": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "template": {"type": "str", "default": ""},
        "app": {"type": "str", "required": True},
        "database": {"type": "str", "required": True},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
