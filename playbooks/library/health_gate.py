"""Wait until the application answers as the version just started, and measure the gap (SPEC §3, gate).

`uri` with retries would cost a third of a second a try and cannot ask for several good answers in a row.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: health_gate
short_description: Several good answers of /health in a row, or the last bad one
description:
  - C(gap_ms) is the time from the old container's end, by the engine's events since C(since), to the
    first good answer; absent where nothing ended.
options:
  url: {type: str, required: true, description: Address of /health.}
  version: {type: str, required: true, description: The version that must answer.}
  container: {type: str, required: true, description: Name of the container that was replaced.}
  since: {type: float, required: true, description: Seconds since the epoch; earlier events do not count.}
  seconds: {type: int, default: 60, description: The longest wait.}
  consecutive: {type: int, default: 3, description: Good answers in a row.}
"""

# Fast at first, because every tenth of a second is shown as a gap; then the pace of SPEC §3.
EAGER_SECONDS, EAGER_PAUSE, PAUSE = 10.0, 0.05, 2.0


def ask(url: str, version: str) -> str:
    """Return an empty string for a good answer, else what was wrong with it."""
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310  # the address is ours, and http
            document = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
    except (OSError, ValueError) as error:
        return str(error)
    found = document.get("version") if isinstance(document, dict) else None
    return "" if found == version else f"version {found} answers instead of {version}"


def ended_at(container: str, since: float) -> float | None:
    """Return when the container first ended since then, by the engine's own clock."""
    argv = [
        "docker",
        "events",
        "--since",
        f"{since:.3f}",
        "--until",
        f"{time.time():.3f}",
        "--filter",
        "event=die",
    ]
    argv += ["--filter", "type=container", "--format", "{{.Actor.Attributes.name}} {{.TimeNano}}"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    # The engine's own filter by name takes prefixes too: containers of `compose run` would count.
    stamps = [int(line.split()[1]) / 1e9 for line in lines if line.split()[0] == container]
    return stamps[0] if stamps else None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "since": {"type": "float", "required": True},
            "seconds": {"type": "int", "default": 60},
            "consecutive": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params, start = module.params, time.monotonic()
    good, first_good, problem = 0, 0.0, "never asked"
    while good < params["consecutive"] and time.monotonic() - start < params["seconds"]:
        problem = ask(params["url"], params["version"])
        if problem:
            good = 0
        else:
            good += 1
            first_good = time.time() if good == 1 else first_good
        if good < params["consecutive"]:
            time.sleep(EAGER_PAUSE if good or time.monotonic() - start < EAGER_SECONDS else PAUSE)
    result = {"passed": good >= params["consecutive"], "problem": problem}
    ended = ended_at(params["container"], params["since"])
    if result["passed"] and ended is not None:
        result["gap_ms"] = max(0, round((first_good - ended) * 1000))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
