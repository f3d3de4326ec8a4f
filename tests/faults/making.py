"""How each fault is caused, and undone. Every function is a context manager around one flow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts import breaking, exports
from tests.hosts.checkout import SOURCE
from tests.hosts.stack import APP, DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.faults.bench import Bench
    from tests.hosts.upstream import Upstream

Maker = Callable[["Bench"], contextlib.AbstractContextManager[None]]

VOLUME = "trading-signal-processor_postgres_data"
CLUSTER = f"/var/lib/docker/volumes/{VOLUME}/_data"
CLOCK = "/root/clock"
CLOCK_SOURCE = Path(__file__).parent / "clock.c"


@contextlib.contextmanager
def nothing(_bench: Bench) -> Iterator[None]:
    """Cause no fault: the flow itself is interrupted."""
    yield


@contextlib.contextmanager
def news(bench: Bench) -> Iterator[None]:
    """Push a good commit to the remote, which stays there."""
    bench.upstream.push({"app/news.txt": f"{bench.upstream.tip}\n"})
    yield


@contextlib.contextmanager
def news_with_a_migration(bench: Bench) -> Iterator[None]:
    """Push a good commit with a migration of an unused table."""
    number = len(bench.upstream.names("app/db/migrations/*.sql"))
    name = f"app/db/migrations/20300101_{number:02}_nEwS0-more.sql"
    bench.upstream.push(breaking.migration(bench.upstream, f"CREATE TABLE more_{number} ();", name))
    yield


def offering(files: Callable[[Upstream], Mapping[str, str]]) -> Maker:
    """Push a commit that cannot be deployed, and remove it afterwards."""

    @contextlib.contextmanager
    def made(bench: Bench) -> Iterator[None]:
        with bench.upstream.offering(files(bench.upstream)):
            yield
        bench.sh(f"rm -f {breaking.STARTED}")

    return made


def altering_migration(upstream: Upstream) -> dict[str, str]:
    return breaking.migration(upstream, "ALTER TABLE signals ADD COLUMN fault text;")


@contextlib.contextmanager
def left_failed(bench: Bench) -> Iterator[None]:
    """Leave a version that cannot start; afterwards restore the good one."""
    with offering(breaking.starts_once)(bench):
        yield
    bench.stack.run_py("--rollback").require()


def edited(path: str, edit: Callable[[str], str]) -> Maker:
    """Change a file of the checkout; restore it with its mode afterwards."""

    @contextlib.contextmanager
    def made(bench: Bench) -> Iterator[None]:
        bench.sh(f"cp --preserve=all {path} /root/original")
        bench.stack.host.write("/root/edited", edit(bench.stack.host.read(f"{bench.stack.project}/{path}")))
        bench.sh(f"cat /root/edited > {path}")
        try:
            yield
        finally:
            bench.sh(f"rm -rf {path} && mv /root/original {path}")

    return made


def replaced(path: str, how: str) -> Maker:
    """Move a file of the checkout away, and create something else in its place by `how`."""

    @contextlib.contextmanager
    def made(bench: Bench) -> Iterator[None]:
        bench.sh(f"mv {path} /root/original && {how}")
        try:
            yield
        finally:
            bench.sh(f"rm -rf {path} && mv /root/original {path}")

    return made


@contextlib.contextmanager
def port_taken(bench: Bench) -> Iterator[None]:
    """Let another program listen on the application's port."""
    with edited(".env", lambda text: f"{text}SERVER_PORT=8081\n")(bench):
        holder = bench.stack.host.spawn("python3 -u -m http.server 8081")
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert "Serving" in holder.stdout.readline()
        try:
            yield
        finally:
            bench.sh(f"kill {pid}")
            holder.wait(timeout=30)


@contextlib.contextmanager
def daemon_dead(bench: Bench) -> Iterator[None]:
    """Stop the daemon; its containers continue to run."""
    bench.sh("kill -KILL $(cat /run/docker.pid)")
    yield
    bench.stack.run_py("--quick", "--install-docker").require()


@contextlib.contextmanager
def diverged(bench: Bench) -> Iterator[None]:
    """Create a local commit and another one on the remote."""
    head = bench.sh("git rev-parse HEAD").strip()
    identity = "-c user.name=Operator -c user.email=operator@localhost"
    bench.sh(f"git {identity} commit --quiet --allow-empty --message 'Our own change'")
    bench.memory["head"] = bench.sh("git rev-parse HEAD").strip()
    with bench.upstream.offering({"app/news.txt": "theirs\n"}):
        yield
    assert bench.sh("git rev-parse HEAD").strip() == bench.memory["head"]
    bench.sh(f"git reset --quiet --keep {head}")


@contextlib.contextmanager
def remote_away(bench: Bench) -> Iterator[None]:
    """Remove the remote from its place; the checks read it elsewhere."""
    url = bench.sh("git remote get-url origin").strip()
    bench.sh(f"git remote set-url origin {url}.away")
    try:
        yield
    finally:
        bench.sh(f"git remote set-url origin {url}")


@contextlib.contextmanager
def remote_damaged(bench: Bench) -> Iterator[None]:
    """Let the remote name a commit without its objects."""
    with bench.upstream.offering({"app/news.txt": "lost\n"}) as commit:
        path = f"objects/{commit[:2]}/{commit[2:]}"
        bench.sh(f"cp {SOURCE}/{path} /root/object && chmod u+w {SOURCE}/{path} && echo > {SOURCE}/{path}")
        try:
            yield
        finally:
            bench.sh(f"mv /root/object {SOURCE}/{path}")


@contextlib.contextmanager
def disk_full(bench: Bench) -> Iterator[None]:
    """Fill the disk of the backups."""
    with news(bench):
        bench.sh("mount -t tmpfs -o size=256k,mode=0700 none backups && cat /dev/zero > backups/full || true")
        try:
            yield
        finally:
            bench.sh("umount backups")


def little_tmp(options: str) -> Maker:
    """Push a good commit, and leave hardly any space for temporary files."""

    @contextlib.contextmanager
    def made(bench: Bench) -> Iterator[None]:
        with news(bench):
            bench.sh(f"mount -t tmpfs -o mode=1777,{options} none /tmp")
            try:
                yield
            finally:
                bench.sh("umount --lazy /tmp")

    return made


tmp_full = little_tmp("size=16m")
no_inodes = little_tmp("nr_inodes=500")


@contextlib.contextmanager
def renamed_branch(bench: Bench) -> Iterator[None]:
    """Rename the branch that the checkout follows."""
    rename = f"git -C {SOURCE} branch -m {{}} {{}} && git -C {SOURCE} symbolic-ref HEAD refs/heads/{{}}"
    bench.sh(rename.format("main", "trunk", "trunk"))
    try:
        yield
    finally:
        bench.sh(rename.format("trunk", "main", "main"))


@contextlib.contextmanager
def other_postgres(bench: Bench) -> Iterator[None]:
    """Push a good commit, and mark the volume as made by a newer PostgreSQL."""
    with news(bench):
        bench.sh(f"echo 16 > {CLUSTER}/PG_VERSION")
        try:
            yield
        finally:
            bench.sh(f"echo 15 > {CLUSTER}/PG_VERSION")


@contextlib.contextmanager
def own_file_system(bench: Bench) -> Iterator[None]:
    """Put lock, journal and record on their own file system, which a deed fills; with a commit to deploy."""
    with news(bench):
        bench.sh(
            "cp -a .run /root/run && mount -t tmpfs -o size=8g,nr_inodes=60k,mode=0700 none .run"
            " && cp -a /root/run/. .run/"
        )
        try:
            yield
        finally:
            bench.sh("rm -rf .run/full && cp -a .run/. /root/run/ && umount .run")
            bench.sh("cp -a /root/run/. .run/ && rm -rf /root/run")


def fill_run(bench: Bench, _pid: int) -> None:
    """Use up the inodes: no file can be created in the lock's folder."""
    bench.sh("mkdir .run/full && cd .run/full && seq 70000 | xargs touch || true")


@contextlib.contextmanager
def damaged_cluster(bench: Bench) -> Iterator[None]:
    """Damage the database so that it refuses every connection."""
    ((part,),) = bench.stack.sql(
        "SELECT 'base/' || oid || '/pg_filenode.map' FROM pg_database WHERE datname = current_database()"
    )
    bench.sh(f"mv {CLUSTER}/{part} /root/part")
    try:
        yield
    finally:
        bench.sh(f"mv /root/part {CLUSTER}/{part}")


@contextlib.contextmanager
def volume_in_use(bench: Bench) -> Iterator[None]:
    """Let another container use the database's volume."""
    bench.sh(f"docker run --detach --name squatter -v {VOLUME}:/x --entrypoint sleep {APP}:latest infinity")
    try:
        yield
    finally:
        bench.sh("docker rm --force squatter")


@contextlib.contextmanager
def truncated_dump(bench: Bench) -> Iterator[None]:
    """Create a dump without its last bytes."""
    with good_dump(bench):
        bench.sh("truncate --size=-100 /root/good.dump")
        yield


@contextlib.contextmanager
def good_dump(bench: Bench) -> Iterator[None]:
    """Create a dump of the current database, at /root/good.dump."""
    bench.sh(f"docker exec {DATABASE} pg_dump -U postgres -d trading_signals -Fc > /root/good.dump")
    yield


@contextlib.contextmanager
def killed_restore(bench: Bench) -> Iterator[None]:
    """Kill the process that reads the dump, once."""
    with good_dump(bench):
        reader = (
            "pg_restore -U postgres -d [t]rading_signals_incoming"  # in brackets: no match of pkill itself
        )
        hunter = bench.stack.host.spawn(f"timeout 600 sh -c 'until pkill -KILL -f \"{reader}\"; do :; done'")
        try:
            yield
        finally:
            hunter.kill()
            hunter.wait(timeout=30)


@contextlib.contextmanager
def table_locked(bench: Bench) -> Iterator[None]:
    """Lock the table that the migration changes; readers and writers are not affected."""
    with offering(altering_migration)(bench):
        hold = "BEGIN; LOCK TABLE signals IN ROW EXCLUSIVE MODE; SELECT pg_sleep(3600)"
        holder = bench.stack.host.spawn(
            f"docker exec {DATABASE} psql -U postgres -d trading_signals -c '{hold}'"
        )
        sleeper = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        bench.stack.wait_until(f"EXISTS (SELECT {sleeper})", 30)
        try:
            yield
        finally:
            bench.stack.sql(f"SELECT pg_terminate_backend(pid) {sleeper}")
            holder.wait(timeout=30)


@contextlib.contextmanager
def moving_clock(bench: Bench) -> Iterator[None]:
    """Give run.py and its programs their own clock, which a deed can move; with a commit to deploy."""
    if bench.stack.host.run("test -e /root/clock.so").code != 0:
        bench.sh(
            "apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev", timeout=600
        )
        bench.stack.host.write("/root/clock.c", CLOCK_SOURCE.read_text("utf-8"))
        bench.sh("gcc -shared -fPIC -O2 -o /root/clock.so /root/clock.c")
    bench.sh(f"echo 0 > {CLOCK}")
    bench.environment = {"LD_PRELOAD": "/root/clock.so", "CLOCK_FILE": CLOCK}
    try:
        with news(bench):
            yield
    finally:
        bench.environment = {}


def exporting(*kinds: str) -> Maker:
    """Export variables of these kinds, or of all, in the operator's shell; with a commit to deploy."""

    @contextlib.contextmanager
    def made(bench: Bench) -> Iterator[None]:
        found = exports.lay_out(bench.stack.host)
        for kind in kinds or found:
            bench.environment |= found[kind]
        try:
            with news(bench):
                yield
        finally:
            bench.environment = {}

    return made


def move_clock(*, seconds: int) -> Callable[[Bench, int], None]:
    """Return a deed that makes that clock wrong by so much."""

    def deed(bench: Bench, _pid: int) -> None:
        bench.sh(f"echo {seconds} > {CLOCK}")

    return deed


def restart_daemon(bench: Bench, _pid: int) -> None:
    """Kill the daemon in the middle and restart it, as a service manager does."""
    bench.sh("kill -KILL $(cat /run/docker.pid) && rm -f /run/docker.pid")
    bench.sh("setsid dockerd >>/var/log/dockerd.log 2>&1 </dev/null &")
    bench.sh("timeout 60 sh -c 'until docker version; do :; done' >/dev/null 2>&1")


def prune_image(bench: Bench, _pid: int) -> None:
    """Delete the image just built, as a clean-up of images does."""
    bench.sh(f"docker rmi --force {APP}:{bench.upstream.tip[:12]} {APP}:latest")
