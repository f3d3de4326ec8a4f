"""What operators export without thinking of this product, of every kind that has ended a run or misled it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from ansible.config.manager import ConfigManager

from deploy import environment
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

# Settings whose value has a type: what would hurt most.
_VALUES = {"bool": "true", "boolean": "true", "integer": "1", "int": "1", "float": "0.01"}


def ansible_settings() -> dict[str, str]:
    """Every setting that Ansible reads from the environment, but for the vault's, at a harmful value."""
    settings: dict[str, dict[str, Any]] = ConfigManager().get_configuration_definitions()
    found = {
        variable["name"]: _VALUES.get(str(setting.get("type")), "changes")
        for setting in settings.values()
        for variable in setting.get("env") or []
    }
    return {
        name: value
        for name, value in found.items()
        if name.startswith("ANSIBLE_") and not name.startswith("ANSIBLE_VAULT_")
    }


def of_the_stack() -> dict[str, str]:
    """Every name that compose files and `.env.example` use, but for what a build takes from its machine."""
    compose = "".join(path.read_text("utf-8") for path in REPOSITORY.glob("docker-compose*.yml"))
    example = (REPOSITORY / ".env.example").read_text("utf-8")
    names = environment.interpolated(compose) | set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    return dict.fromkeys(names - {"PIP_INDEX_URL", "CA_BUNDLE", "PACKAGE_CACHE"}, "8099")


def of_python(folder: Path) -> dict[str, str]:
    """Python's own variables; `folder` gets packages that no program can work with."""
    for name in ("yaml", "rich", "ansible", "deploy"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('a package of somebody else')\n")
    (folder / "argparse.py").write_text("raise SystemExit('a module of somebody else')\n")
    return {
        "PYTHONPATH": str(folder),
        "PYTHONHOME": sys.base_prefix,
        "PYTHONSTARTUP": str(folder / "argparse.py"),
        "PYTHONINSPECT": "1",
        "PYTHONIOENCODING": "ascii:strict",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONWARNINGS": "ignore",
    }


OF_OTHERS = {
    "GIT_DIR": "/nowhere/.git",
    "GIT_WORK_TREE": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere/index",
    "GIT_SSH_COMMAND": "false",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.bare",
    "GIT_CONFIG_VALUE_0": "true",
    "COMPOSE_FILE": "/nowhere/compose.yml",
    "COMPOSE_PROJECT_NAME": "other",
    "COMPOSE_PROFILES": "other",
    "COMPOSE_ENV_FILES": "/nowhere/.env",
    "COMPOSE_DISABLE_ENV_FILE": "1",
    "DOCKER_API_VERSION": "1.0",
    "DOCKER_DEFAULT_PLATFORM": "linux/s390x",
    "DOCKER_BUILDKIT": "0",
    "LC_ALL": "C",
    "LANGUAGE": "xx",
    "LC_TIME": "no_SUCH.ISO-8859-1",
    "http_proxy": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "FORCE_COLOR": "1",
    "TRADING_SIGNAL_PROCESSOR_RUN": "somebody",
    "BASH_ENV": "/nowhere/profile",
    "TMPDIR": "/nowhere",
    "CDPATH": "/nowhere",
    "POSIXLY_CORRECT": "1",
}
