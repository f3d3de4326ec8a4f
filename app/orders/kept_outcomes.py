"""Keep known outcomes in files while the database cannot store them, so that a restart loses none.

One file an attempt in `data/outcomes`, readable by the application's user only. A file holds no URL of the
destination and no body of the alert.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog

from app.errors import describe
from app.orders.repository import Delivery
from app.orders.transport import Answer
from app.runtime import durable_files
from app.signals.book import Effect, OrderTerms, effect_of, terms_of_effect
from app.signals.reasons import Reason, ReasonCode

log = structlog.get_logger(__name__)

_MOST_FILES = 1_000
_LONGEST_SECONDS = 30 * 86_400.0
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class KnownOutcome:
    """A delivery and the answer to it. `effect` is what the version before applies to the position."""

    delivery: Delivery
    answer: Answer
    effect: Effect = Effect.NOTHING

    @property
    def terms(self) -> OrderTerms:
        """What was sent. In a file of the version before, only the effect is known."""
        return self.delivery.terms or terms_of_effect(self.effect)


class KeptOutcomes:
    """The files of one folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[int] = set()

    def keep(self, known: KnownOutcome) -> None:
        """Store an outcome durably, unless it is kept already.

        Fails open: if no file can be written, the outcome is known to this process alone, as without files.
        """
        attempt = known.delivery.attempt
        if attempt in self._kept:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if sum(1 for _ in self._folder.iterdir()) >= _MOST_FILES:
                log.error("outcome not kept: too many files", folder=str(self._folder), most=_MOST_FILES)
                return
            content = msgspec.json.encode(_without_secrets(known), enc_hook=str)
            durable_files.write(self._path(attempt), content)
        except OSError as error:
            log.error("outcome not kept: the file cannot be written", error=describe(error))  # noqa: TRY400
            return
        self._kept.add(attempt)
        log.warning("outcome kept in a file", signal_id=known.delivery.id, attempt=attempt)

    def forget(self, attempt: int) -> None:
        """Remove an outcome's file, if there is one."""
        if attempt not in self._kept:
            return
        try:
            self._path(attempt).unlink(missing_ok=True)
        except OSError as error:  # Fails open: storing the outcome again changes nothing
            log.warning("file of a stored outcome not removed", error=describe(error))
        self._kept.discard(attempt)

    def load(self) -> list[KnownOutcome]:
        """Return the outcomes that an earlier process kept. A file that cannot be read is left out.

        Files of more than 30 days are removed, so that their number is bounded.
        """
        return list(self._read_all())

    def _read_all(self) -> Iterator[KnownOutcome]:
        try:
            paths = sorted(self._folder.glob(f"*{_SUFFIX}"))
        except OSError as error:
            log.error("kept outcomes cannot be read", error=describe(error))  # noqa: TRY400
            return
        for path in paths:
            try:
                if time.time() - path.stat().st_mtime > _LONGEST_SECONDS:
                    path.unlink()
                    log.error("kept outcome removed: more than 30 days old", file=path.name)
                    continue
                known = msgspec.json.decode(path.read_bytes(), type=KnownOutcome, dec_hook=_to_reason)
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                log.error("kept outcome cannot be read", file=path.name, error=describe(error))  # noqa: TRY400
                continue
            self._kept.add(known.delivery.attempt)
            yield known

    def _path(self, attempt: int) -> Path:
        return self._folder / f"{attempt}{_SUFFIX}"


def _without_secrets(known: KnownOutcome) -> KnownOutcome:
    destination = replace(known.delivery.destination, url=None)
    delivery = msgspec.structs.replace(known.delivery, body=b"", destination=destination)
    return replace(known, delivery=delivery, effect=effect_of(known.terms.intent))


def _to_reason(_: type[Reason], text: str) -> Reason:
    """Return an error of a file: its text alone, as every version reads and writes it."""
    return Reason(ReasonCode.OTHER, text=text)
