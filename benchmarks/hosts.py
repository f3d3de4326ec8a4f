"""The cost of more hosts: `python -m benchmarks.hosts` deploys to 1, 2, 4 and 8, with nothing changed.

Throw-away hosts with an engine and the whole stack, reached over SSH from one more of them, the controller;
prints the table of docs/performance.md. The CPU is the controller's alone: run.py, Ansible, ssh and what
they started there.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.hosts.checkout import PROJECT, install, source_archive
from tests.hosts.docker import has_image
from tests.hosts.engine import Engine
from tests.hosts.fleet import INVENTORY, Fleet
from tests.hosts.host import Host
from tests.hosts.ready import deploy_from_nothing, image_name, start_fresh

CHECKOUT = Path(__file__).resolve().parents[1]
SIZES = (1, 2, 4, 8)
RUNS = 3


def measure(fleet: Fleet, count: int) -> tuple[float, float, int]:
    """Return the fastest of a few runs over `count` hosts: wall and CPU seconds, steps of one host."""
    limit = ",".join(list(fleet.hosts)[:count])
    line = shlex.join(["python3", "run.py", "--quick", "--limit", limit, "-i", INVENTORY, "--json"])
    found = []
    for _ in range(RUNS):
        script = f"TIMEFORMAT='%R %U %S'; time {line} >/tmp/document.json 2>/tmp/steps.txt"
        timed = fleet.controller.run(script, folder=PROJECT, timeout=900).require()
        wall, user, system = map(float, timed.stderr.split()[-3:])
        steps = json.loads(fleet.controller.read("/tmp/document.json"))["steps"]  # noqa: S108 - on a host of our own
        if "changed" in {step["status"] for step in steps}:
            raise RuntimeError("something changed on a host where nothing should")
        ran = [step for step in steps if step["status"] != "skipped"]
        found.append((wall, user + system, len(ran) // count))
    return min(found)


def main() -> None:
    """Start the hosts, deploy once, measure, print."""
    with Engine(CHECKOUT), contextlib.ExitStack() as all_hosts:
        archive, image = source_archive(CHECKOUT), image_name(CHECKOUT)
        if not has_image(image):
            deploy_from_nothing(archive, image).result.require()
        controller = all_hosts.enter_context(Host(image, "controller"))
        install(controller, archive)

        def start(name: str) -> Host:
            return all_hosts.enter_context(start_fresh(image, archive, name))

        names = [f"host-{number}" for number in range(1, max(SIZES) + 1)]
        with ThreadPoolExecutor(2) as pool:
            fleet = Fleet(controller, dict(zip(names, pool.map(start, names), strict=True)), archive)
        fleet.run_py("--quick", "--limit", "prod").require()
        print("| hosts | wall time | controller CPU | steps a host | CPU per host and step |")
        print("|---|---|---|---|---|")
        for count in SIZES:
            wall, cpu, steps = measure(fleet, count)
            print(
                f"| {count} | {wall:.1f} s | {cpu:.1f} s | {steps} | {cpu / count / steps:.2f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
