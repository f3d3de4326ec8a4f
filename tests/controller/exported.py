"""Variables that operators export for other programs, of every kind that has ended or misled a run."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from ansible.config.manager import ConfigManager

from deploy import environment, handover
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

# Settings whose value has a type: the most harmful ones.
_VALUES = {"bool": "true", "boolean": "true", "integer": "1", "int": "1", "float": "0.01"}


def ansible_settings() -> dict[str, str]:
    """Return every setting that Ansible reads, except the vault's, with a harmful value."""
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
    """Return every name in compose files and `.env.example`, except those of a build's machine."""
    compose = "".join(path.read_text("utf-8") for path in REPOSITORY.glob("docker-compose*.yml"))
    example = (REPOSITORY / ".env.example").read_text("utf-8")
    names = environment.interpolated(compose) | set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    return dict.fromkeys(names - {"PIP_INDEX_URL", "CA_BUNDLE", "PACKAGE_CACHE"}, "8099")


def make_packages(folder: Path) -> None:
    """Create packages that no program can work with."""
    for name in ("yaml", "rich", "ansible", "deploy"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('a package of somebody else')\n")
    (folder / "argparse.py").write_text("raise SystemExit('a module of somebody else')\n")


def of_python(folder: Path, prefix: str = sys.base_prefix) -> dict[str, str]:
    """Return Python's own variables, with such packages in `folder` and Python itself below `prefix`."""
    return {
        "PYTHONPATH": str(folder),
        "PYTHONHOME": prefix,
        "PYTHONSTARTUP": str(folder / "argparse.py"),
        "PYTHONINSPECT": "1",
        "PYTHONIOENCODING": "ascii:strict",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONWARNINGS": "ignore",
    }


def spread(found: dict[str, str], count: int, *always: str) -> dict[str, str]:
    """Return some of the variables: the named ones, and others evenly from the alphabet."""
    others = sorted(found.keys() - set(always))
    step = len(others) / (count - len(always))
    names = [*always, *(others[int(number * step)] for number in range(count - len(always)))]
    return {name: found[name] for name in names}


def by_kind(folder: Path, prefix: str) -> dict[str, dict[str, str]]:
    """Return forty variables by program, each of a kind that has ended or misled a run."""
    stack = spread(of_the_stack(), 9, "SERVER_PORT", "POSTGRES_PASSWORD", "APP_VERSION", "STACK_CPUS")
    names = ("SKIP_TAGS", "BECOME_ASK_PASS", "INJECT_FACT_VARS", "ROLES_PATH")
    ansible = spread(ansible_settings(), 12, *(f"ANSIBLE_{name}" for name in names))
    python = of_python(folder, prefix)
    return {
        "stack": stack,
        "ansible": ansible,
        "python": {name: python[name] for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONINSPECT")},
        **{
            kind: {name: OF_OTHERS[name] for name in names}
            for kind, names in {
                "git": ("GIT_DIR", "GIT_INDEX_FILE", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT"),
                "compose": ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_DISABLE_ENV_FILE"),
                "docker": ("DOCKER_API_VERSION", "DOCKER_DEFAULT_PLATFORM"),
                "locale": ("LC_ALL", "LANGUAGE"),
                "proxy": ("http_proxy", "ALL_PROXY"),
                "shell": ("BASH_ENV", "TMPDIR", handover.VARIABLE),
            }.items()
        },
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
    handover.VARIABLE: '{"run_id": "aaaaaaaaaaaa", "checkout": "/nowhere", "commit": "0123456789ab"}',
}
