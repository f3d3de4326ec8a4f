"""Wait until the application answers as the version just started, and measure the gap.

`uri` with retries would cost a third of a second a try and cannot ask for several good answers in a row.
"""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import edge
from ansible_collections.signal_processor.stack.plugins.module_utils.stack import docker, fetch, log_lines

DOCUMENTATION = """
module: health_gate
short_description: Several good answers of /health in a row, or the last bad one
description:
  - C(gap_ms) is the time from the old container's end, by the engine's events since C(since), to the
    first good answer; absent where nothing ended.
  - C(log) is the end of the container's log; only where the gate did not open.
options:
  url: {type: str, required: true, description: Address of /health.}
  version: {type: str, required: true, description: The version that must answer.}
  container: {type: str, required: true, description: Name of the container that was replaced.}
  since: {type: float, required: true, description: Seconds since the epoch; earlier events do not count.}
  seconds: {type: int, default: 60, description: The longest wait.}
  consecutive: {type: int, default: 3, description: Good answers in a row.}
  is_edge: {type: bool, default: false, description: "It is an edge: its 503 is good during maintenance."}
  impatient: {type: bool, default: false, description: Give up as soon as the container ended by itself.}
  log_lines: {type: int, default: 0, description: How many of the container's last log lines a failure shows.}
"""

# Fast at first, because every tenth of a second is shown as a gap; then every 2 s.
EAGER_SECONDS, EAGER_PAUSE, PAUSE = 10.0, 0.05, 2.0
EVENTS_SECONDS = 10.0


def ask(url: str, version: str) -> str:
    """Return an empty string for a good answer, else what is wrong."""
    try:
        status, body = fetch(url)
        if status != 200:
            return f"HTTP {status}: {body.decode(errors='replace')[:300]}"
        document = json.loads(body.decode(errors="replace"))
    except (OSError, ValueError) as error:
        return str(error)
    found = document.get("version") if isinstance(document, dict) else None
    return "" if found == version else f"version {found} answers instead of {version}"


def ended_at(container: str, since: float) -> float | None:
    """Return when the container first ended since then, by the engine's own clock; None if nobody knows."""
    # Until now as the client sees it: if the clock was set, a time of ours may lie ahead, and is waited for.
    argv = ["docker", "events", "--since", f"{since:.3f}", "--until", "0s"]
    argv += ["--filter", "event=die", "--filter", "type=container"]
    argv += ["--format", "{{.Actor.Attributes.name}} {{.TimeNano}}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=EVENTS_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    # The engine's own filter by name takes prefixes too: containers of `compose run` would count.
    lines = map(str.split, done.stdout.splitlines())
    return next((int(nanoseconds) / 1e9 for name, nanoseconds in lines if name == container), None)


def ended_by_itself(container: str) -> str:
    """Say how the container ended, also if the engine started it again; empty while it runs."""
    form = "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}"
    said = docker("container", "inspect", "--format", form, container).split()
    if said and said[0] in ("created", "running") and said[1] == "0":
        return ""
    return f"it ended by itself (exit code {said[2]})" if said else "its container is gone"


def is_in_maintenance(container: str) -> bool:
    """Whether an edge says now that it answers instead of the app: a flow may have started it."""
    try:
        return edge.is_in_maintenance(edge.docker("exec", container, "edge", "show", timeout=EVENTS_SECONDS))
    except edge.EdgeError:
        return False


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Ask until the gate opens, or there is no hope."""
    start = time.monotonic()
    good, first_good, problem = 0, 0.0, "never asked"
    while good < params["consecutive"] and time.monotonic() - start < params["seconds"]:
        problem = ask(params["url"], params["version"])
        if problem and params["is_edge"] and is_in_maintenance(params["container"]):
            problem = ""
        if problem:
            good = 0
            if params["impatient"] and (end := ended_by_itself(params["container"])):
                problem = end
                break
        else:
            first_good = first_good if good else time.time()
            good += 1
        if good < params["consecutive"]:
            time.sleep(EAGER_PAUSE if good or time.monotonic() - start < EAGER_SECONDS else PAUSE)
    result = {"changed": False, "passed": good >= params["consecutive"], "problem": problem}
    if not result["passed"]:
        result["log"] = log_lines(params["container"], params["log_lines"])
    elif (ended := ended_at(params["container"], params["since"])) is not None:
        result["gap_ms"] = max(0, round((first_good - ended) * 1000))
    return result


MODULE = Module(
    answer,
    {
        "url": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "container": {"type": "str", "required": True},
        "since": {"type": "float", "required": True},
        "seconds": {"type": "int", "default": 60},
        "consecutive": {"type": "int", "default": 3},
        "is_edge": {"type": "bool", "default": False},
        "impatient": {"type": "bool", "default": False},
        "log_lines": {"type": "int", "default": 0},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
