"""What happens to one post, from its parts to the answer. The HTTP around it is in `routes`."""

import asyncio
from typing import NamedTuple
from uuid import UUID

import structlog

from app import metrics
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.errors import describe
from app.intake.access import WebhookSecret
from app.intake.commit import GroupCommit, NotCommittedInTimeError, OverloadedError, RefusedByDatabaseError
from app.intake.dedupe import body_key, header_key
from app.intake.refused import RefusedPosts
from app.intake.store import Post
from app.runtime.denials import Kind
from app.signals.alert import SECRET_FIELD, Alert, BadAlertError, Fields, read_alert, read_fields, text_of
from app.signals.members import without
from app.signals.statuses import SignalType

log = structlog.get_logger(__name__)

# With the 2 s that a commit may take a sender has its answer before TradingView gives up after 3.
_ROOM_SECONDS, _LOOK_SECONDS = 0.8, 0.01

WRONG_PATH = (
    "nothing is here: send alerts by POST to /webhook/in, with the secret as header X-Webhook-Secret, "
    "as /webhook/in/SECRET, as ?secret=SECRET or as the field secret"
)


class NotTakenError(Exception):
    """The post is refused with this HTTP status; the text is the answer's `detail`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Envelope(NamedTuple):
    """What came with a body: the secrets presented outside of it, its idempotency key, its sender."""

    secrets: tuple[bytes, ...]
    idempotency_key: str | None
    client: str


class Accepted(NamedTuple):
    """The 202's content. `queue_size` counts the signals that wait for a decision."""

    signal_id: UUID
    ticker: str
    queue_size: int
    duplicate: bool


class Reception:
    """Checks a post, has it committed, and keeps those that it refuses."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._secret = WebhookSecret(context.settings.webhook_secret)
        self._turn = asyncio.Lock()
        self.commit = GroupCommit(context)
        self.refused = RefusedPosts(context)
        if self._secret.is_open:
            log.warning("WEBHOOK_SECRET is empty: whoever reaches this port can send signals; set it in .env")

    async def accept(self, body: bytes, envelope: Envelope) -> Accepted:
        """Return once the alert is committed, or recognised as one that was.

        Raises:
            NotTakenError: 401, 422 or 503; kept among the refused posts, but for a 401.
        """
        known = self._knows(envelope)
        try:
            fields = read_fields(body)
        except BadAlertError as error:
            if not known:
                raise self._unauthorized(envelope) from error
            raise self.refusal(422, str(error), envelope, body) from error
        if not known and not self._knows_field(fields):
            raise self._unauthorized(envelope)
        try:
            self._check_pause()
            alert = read_alert(body, fields)
            await self._await_room()
            verdict = await self._stored(self._post(alert, envelope))
        except NotTakenError as error:
            raise self.refusal(error.status, str(error), envelope, without(body, SECRET_FIELD)) from error
        except BadAlertError as error:
            raise self.refusal(422, str(error), envelope, without(body, SECRET_FIELD)) from error
        signal_id, duplicate = verdict
        return Accepted(signal_id, alert.ticker, self._queue_size(), duplicate)

    async def close(self, limit_seconds: float) -> None:
        """Store what was accepted, while the workers still run."""
        await self.commit.drain(limit_seconds)
        try:
            await self.refused.write()
        except TRANSIENT_DB_ERRORS as error:
            log.warning("refused posts of the last second are lost", error=describe(error))

    def refusal(self, status: int, detail: str, envelope: Envelope, body: bytes) -> NotTakenError:
        """Keep a refused post, count it, and return what to raise."""
        self.refused.add(status, detail, envelope.client, len(body), self._secret.masked(body))
        metrics.POSTS_REFUSED.labels(str(status)).inc()
        log.info("post refused", status=status, reason=detail, client=envelope.client, size=len(body))
        return NotTakenError(status, detail)

    def incomplete(self, status: int, detail: str, envelope: Envelope, body: bytes) -> NotTakenError:
        """Refuse a body of which only the beginning was read: 408 or 413.

        It is kept if its sender is known without it, and counted by address if not.
        """
        if self._knows(envelope):
            return self.refusal(status, detail, envelope, body)
        return self._denied("webhook_body", status, detail, envelope.client)

    def misdirected(self, client: str) -> NotTakenError:
        """Refuse a post to a path that is nearly the webhook's. Its path may hold the secret: never shown."""
        return self._denied("webhook_path", 404, WRONG_PATH, client)

    def _knows(self, envelope: Envelope) -> bool:
        return self._secret.is_open or any(map(self._secret.matches, envelope.secrets))

    def _knows_field(self, fields: Fields) -> bool:
        raw = fields.get(SECRET_FIELD)
        text = text_of(raw)
        return self._secret.matches(raw if text is None else text.encode())

    def _unauthorized(self, envelope: Envelope) -> NotTakenError:
        detail = "wrong or missing secret: header X-Webhook-Secret, path, ?secret= or field secret"
        return self._denied("webhook_secret", 401, detail, envelope.client)

    def _denied(self, kind: Kind, status: int, detail: str, client: str) -> NotTakenError:
        """Count a post of a stranger, which is not stored, and return what to raise."""
        self._context.denials.count(kind, client)
        metrics.POSTS_REFUSED.labels(str(status)).inc()
        return NotTakenError(status, detail)

    def _queue_size(self) -> int:
        return self._context.queues.received + self.commit.waiting

    def _check_pause(self) -> None:
        if self._context.config.system.intake_paused:
            raise NotTakenError(503, "intake is paused by an operator")

    def _is_full(self) -> bool:
        return self._queue_size() >= self._context.settings.queue_max_size

    async def _await_room(self) -> None:
        """Let a post into a full queue as soon as decisions make room, in the order of arrival.

        Fails closed: without room in 0.8 s the post is refused with 503, an exit like an entry. It is not
        stored, and the sender repeats it; what was stored before keeps its place.
        """
        if not self._is_full() and not self._turn.locked():
            return
        try:
            async with asyncio.timeout(_ROOM_SECONDS), self._turn:
                while self._is_full():  # noqa: ASYNC110  # commits, decisions and samples change it
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError as error:
            raise NotTakenError(503, "too many signals wait for a decision (QUEUE_MAX_SIZE)") from error

    def _post(self, alert: Alert, envelope: Envelope) -> Post:
        webhook = self._context.config.webhook
        ages = webhook.max_signal_age_seconds
        return Post(
            alert=alert,
            max_age=ages.buy if alert.order.type == SignalType.BUY else ages.sell,
            header_key=header_key(envelope.idempotency_key) if envelope.idempotency_key else None,
            body_key=body_key(alert.digest, webhook.dedupe_window_seconds),
        )

    async def _stored(self, post: Post) -> tuple[UUID, bool]:
        try:
            self.commit.submit(post)
            verdict = await post.answer
        except OverloadedError as error:
            raise NotTakenError(503, "too much waits to be stored") from error
        except NotCommittedInTimeError as error:
            raise NotTakenError(503, "the database did not commit in time; send it again") from error
        except RefusedByDatabaseError as error:
            raise NotTakenError(422, "body: PostgreSQL cannot store this signal") from error
        if verdict.first is None:
            raise NotTakenError(422, "Idempotency-Key: used within 24 h for another body")
        return verdict.first, verdict.first != post.id
