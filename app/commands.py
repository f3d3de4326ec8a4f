"""The image's commands, as `serve` and `migrate` (docs/architecture.md)."""

import argparse
import asyncio
import gc
import sys
import time

from app.config import files
from app.errors import ConfigurationError, MigrationError
from app.settings import Settings, check_tls_files

_WRONG_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


def main() -> int:
    """Run one command; return 0, 1 (it failed) or 78 (wrong configuration)."""
    started_at = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m app", description="Trading Signal Processor")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the application")
    commands.add_parser("migrate", help="bring the schema up to date, once, under an advisory lock")
    commands.add_parser("check", help="validate the environment and the configuration files")
    importing = commands.add_parser(
        "import-legacy", help="import the replaced system's database, whose address is LEGACY_DATABASE_URL"
    )
    importing.add_argument("--check", action="store_true", help="list what would come; write nothing")
    preparing = commands.add_parser(
        "prepare-restored", help="prepare a restored database to take the place of the current one"
    )
    preparing.add_argument("database", help="its name, on the server of DATABASE_URL")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_environment()
        commands_by_name = {
            "serve": lambda: _serve(settings, started_at),
            "migrate": lambda: _migrate(settings),
            "check": lambda: _check(settings),
            "import-legacy": lambda: _import_legacy(settings, check=arguments.check),
            "prepare-restored": lambda: _prepare_restored(settings, arguments.database),
        }
        return commands_by_name[arguments.command]()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG_CONFIGURATION
    except MigrationError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _check(settings: Settings) -> int:
    files.check_destinations(files.load(settings.config_dir, settings), settings)
    _check_targets(settings)
    check_tls_files(settings)
    return 0


def _check_targets(settings: Settings) -> None:
    """Check that apprise knows each URL of NOTIFY_URLS.

    Raises:
        ConfigurationError: it does not know one; only its number and scheme are named.
    """
    if not settings.notify_urls:
        return
    from app.alarms.targets import UnknownTargetError, load, targets_of  # noqa: PLC0415

    urls = settings.notify_urls.split()
    for target, url in zip(targets_of(urls), urls, strict=True):
        try:
            load(url)
        except UnknownTargetError as error:
            raise ConfigurationError(
                f"NOTIFY_URLS=(not shown) is not valid: URL {target.name} is not one that apprise knows"
            ) from error


def _migrate(settings: Settings) -> int:
    from app.db.migrate import migrate  # noqa: PLC0415  # each command loads only what it needs

    asyncio.run(migrate(settings.database_url))
    return 0


def _import_legacy(settings: Settings, *, check: bool) -> int:
    from app import logging  # noqa: PLC0415
    from app.transfer import legacy  # noqa: PLC0415

    logging.configure("WARNING")
    try:
        report = asyncio.run(legacy.run(settings, check=check))
    except legacy.LegacyImportError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in report.lines()))
    return 0


def _prepare_restored(settings: Settings, database: str) -> int:
    import asyncpg  # noqa: PLC0415

    from app.transfer import restored  # noqa: PLC0415

    try:
        done = asyncio.run(restored.prepare(settings, database))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        first_line, _, _ = str(error).partition("\n")  # the others may quote a row
        sys.stderr.write(f"error: {first_line}\n")
        return 1
    sys.stdout.write(f"{done}\n")
    return 0


def _serve(settings: Settings, started_at: float) -> int:
    gc.disable()  # nothing that an import makes becomes garbage: it saves a sixth of the start
    from app import logging  # noqa: PLC0415
    from app.config.store import opening  # noqa: PLC0415
    from app.db import replaced_system  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415
    from app.ops import operations_port  # noqa: PLC0415
    from app.web.server import Server  # noqa: PLC0415

    logging.configure(settings.log_level)
    asyncio.run(replaced_system.check(settings.database_url))
    app = create_app(settings, asyncio.run(opening(settings)), started_at=started_at)
    server = Server(app, settings)
    server.serve_operations(
        operations_port.make_app(app, has_metrics=settings.enable_prometheus),
        operations_port.bind(settings.prometheus_port),
    )
    # Objects loaded by now are never freed. By default the collector would traverse them repeatedly under
    # load. That halves the throughput of intake and makes its slowest answers several times as slow.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    server.run()
    return 0 if server.started else 1
