"""Check one post, have it committed, and say how it was answered. The HTTP part is in `routes`."""

import asyncio
from typing import NamedTuple
from uuid import UUID

import structlog

from app import metrics
from app.config.access import AlertSource
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.errors import describe
from app.intake import repository
from app.intake.commit import GroupCommit, NotCommittedInTimeError, OverloadedError, RefusedByDatabaseError
from app.intake.dedupe import body_key, edge_key, header_key
from app.intake.refused import HEAD_BYTES, RefusedPosts
from app.intake.sources import Sources, check_age, is_limited
from app.intake.storing import Post
from app.intake.unanswered import UnansweredPosts
from app.runtime.denials import Kind
from app.signals.alert import (
    SECRET_FIELD,
    SHOWN_TICKER_LENGTH,
    Alert,
    BadAlertError,
    read_alert,
    read_fields,
    remove_members,
    trim,
)
from app.signals.fields import SHOWN_LENGTH, Fields, decode_text
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import SignalType

log = structlog.get_logger(__name__)

# Together with the 2 s of a commit the sender has its answer before TradingView gives up after 3 s.
_CAPACITY_WAIT_SECONDS, _CAPACITY_POLL_SECONDS = 0.8, 0.01
_WRITE_EVERY_SECONDS = 1.0
_MASKED_BYTES = 4 * HEAD_BYTES  # of a refused body, of which fewer are kept
_PURGE_ROWS, _PURGE_EVERY_SECONDS = 5_000, 30.0


class PostRefusedError(Exception):
    """The post is refused with this HTTP status; the text of the reason is the response's `detail`."""

    def __init__(self, status: int, reason: Reason) -> None:
        super().__init__(str(reason))
        self.status, self.reason = status, reason


EDGE_HEADER = "X-Edge-Request-Id"  # the edge deletes a client's own (images/edge/haproxy.cfg)


class Envelope(NamedTuple):
    """What came with a body: the secrets outside of it, its idempotency key, its sender's address.

    `key_header` is the name of the header with the key; both are empty without one. `edge_request_id` is the
    edge's id of the request, the same if it sends the request a second time; empty without an edge.
    """

    secrets: tuple[bytes, ...]
    key_header: str
    idempotency_key: str
    edge_request_id: str
    client: str


class Accepted(NamedTuple):
    """The content of the 202. `queue_size` is the number of signals that wait for a decision."""

    signal_id: UUID
    ticker: str
    queue_size: int
    duplicate: bool


class IntakeService:
    """Authenticates and parses posts, hands them to the group commit, and keeps the refused ones."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._sources = Sources(context.settings.webhook_secret, context.config.alert_sources)
        self._capacity_lock = asyncio.Lock()
        self._unanswered = UnansweredPosts(context)
        self.group_commit = GroupCommit(context, self._unanswered)
        self.refused_posts = RefusedPosts(context)
        if not context.settings.webhook_secret:
            log.warning(
                "WEBHOOK_SECRET is empty: anyone who reaches this port can send signals; set it in .env"
            )

    async def accept(self, body: bytes, envelope: Envelope) -> Accepted:
        """Return once the alert is committed, or found to be a duplicate of a committed one.

        Raises:
            PostRefusedError: 401, 403, 422 or 503. After 422 and 503 the post is kept among the refused ones.
        """
        sources = self._current_sources()
        source = sources.find(envelope.secrets)
        body = trim(body)
        try:
            fields = read_fields(body)
        except BadAlertError as error:
            self._check_sender(sources, source or sources.find_open(envelope.secrets), envelope)
            raise self.refuse(422, error.reason, envelope, body) from error
        in_body = _secret_fields(fields)
        source = source or sources.find(in_body) or sources.find_open((*envelope.secrets, *in_body))
        source = self._check_sender(sources, source, envelope)
        try:
            self._check_pause()
            alert = read_alert(body, fields)
            await self._wait_for_capacity()
            post = self._post(alert, fields, source, envelope)
            signal_id, is_duplicate = await self._commit(post, envelope)
        except PostRefusedError as error:
            without_secret = remove_members(body, SECRET_FIELD)
            raise self.refuse(error.status, error.reason, envelope, without_secret) from error
        except BadAlertError as error:
            raise self.refuse(422, error.reason, envelope, remove_members(body, SECRET_FIELD)) from error
        return Accepted(signal_id, alert.ticker, self._queue_size(), is_duplicate)

    async def run_records(self, name: str) -> None:
        """Write refused and unanswered posts every second; delete old ones and expired deduplication keys."""
        pool, loop = self._context.pool, asyncio.get_running_loop()
        purge_at = loop.time()
        while True:
            self._context.supervisor.beat(name)
            await self.refused_posts.write()
            await self._unanswered.record(pool)
            if loop.time() >= purge_at:
                deleted = await repository.purge_expired_keys(pool, limit=_PURGE_ROWS)
                await self._unanswered.purge()
                purge_at = loop.time() + (0 if deleted == _PURGE_ROWS else _PURGE_EVERY_SECONDS)
            await asyncio.sleep(_WRITE_EVERY_SECONDS)

    async def close(self, limit_seconds: float) -> None:
        """Commit what is queued; called while the workers still run.

        Fails open: without a database the refused posts of the last second are lost. They are no signals.
        Fails closed: if posts are left or the database is unavailable, the next start treats this as a crash.
        """
        is_drained = await self.group_commit.drain(limit_seconds)
        try:
            if is_drained:
                await self._unanswered.end()
            await self.refused_posts.write()
        except TRANSIENT_DB_ERRORS as error:
            log.warning("refused posts of the last second are lost", error=describe(error))

    def note_unanswered(self, accepted: Accepted) -> None:
        """Record that a client was gone before its 202: an equal post is a resend, also of a duplicate."""
        self._unanswered.note(accepted.signal_id)

    def refuse(
        self,
        status: int,
        reason: Reason,
        envelope: Envelope,
        body: bytes,
        *,
        is_cut: bool = False,
        size: int = 0,
    ) -> PostRefusedError:
        """Keep, count and log a refused post; return the error to raise.

        `is_cut`: the body is not whole. `size`: the bytes that its sender announced.
        """
        size = max(size, len(body))
        reason = self._without_secret(reason)
        start = body[:_MASKED_BYTES]
        masked = self._sources.mask(start, is_cut=is_cut or len(body) > _MASKED_BYTES)
        self.refused_posts.add(status, reason, envelope.client, size, masked)
        metrics.POSTS_REFUSED.labels(str(status)).inc()
        log.info("post refused", status=status, reason=str(reason), client=envelope.client, size=size)
        return PostRefusedError(status, reason)

    def refuse_incomplete(
        self, status: int, reason: Reason, envelope: Envelope, body: bytes, *, size: int = 0
    ) -> PostRefusedError:
        """Refuse a body of which only the beginning was read (400, 408 or 413); return the error to raise.

        `size`: the bytes that its sender announced. The post is kept if its sender is authenticated without
        the body, else only counted by address.
        """
        sources = self._current_sources()
        source = sources.find(envelope.secrets) or sources.find_open(envelope.secrets)
        if source and sources.allows(source, envelope.client):
            return self.refuse(status, reason, envelope, body, is_cut=True, size=size)
        return self._deny("webhook_body", status, reason, envelope.client)

    def refuse_method(self, client: str, *, is_counted: bool) -> PostRefusedError:
        """Refuse another method than POST; return the error to raise. `is_counted`: it may be an alert."""
        reason = Reason(ReasonCode.WRONG_METHOD)
        if not is_counted:
            return PostRefusedError(405, reason)
        return self._deny("webhook_method", 405, reason, client)

    def refuse_misspelt_path(self, client: str) -> PostRefusedError:
        """Refuse a post to a path that resembles the webhook's; return the error to raise.

        The path is not logged: it may contain the secret.
        """
        return self._deny("webhook_path", 404, Reason(ReasonCode.WRONG_PATH), client)

    def _current_sources(self) -> Sources:
        """Return the sources of the current configuration, made anew only where it has changed."""
        configured = self._context.config.alert_sources
        if configured is not self._sources.configured:
            self._sources = Sources(self._context.settings.webhook_secret, configured)
        return self._sources

    def _check_sender(self, sources: Sources, source: AlertSource | None, envelope: Envelope) -> AlertSource:
        """Return the source of a post that may be sent.

        Raises:
            PostRefusedError: 401 without a source, 403 if it may not post from the client's address.
        """
        if source is None:
            raise self._deny("webhook_secret", 401, Reason(ReasonCode.WRONG_SECRET), envelope.client)
        if not sources.allows(source, envelope.client):
            raise self._deny("webhook_address", 403, Reason(ReasonCode.WRONG_ADDRESS), envelope.client)
        return source

    def _without_secret(self, reason: Reason) -> Reason:
        """Mask secrets in what the reason quotes of a post."""
        return Reason(
            reason.code,
            **{
                name: self._masked_quote(value) if isinstance(value, str) else value
                for name, value in reason.parameters.items()
            },
        )

    def _masked_quote(self, text: str) -> str:
        is_cut = len(text) in {SHOWN_LENGTH, SHOWN_TICKER_LENGTH}
        return self._sources.mask(text.encode(), is_cut=is_cut).decode(errors="replace")

    def _deny(self, kind: Kind, status: int, reason: Reason, client: str) -> PostRefusedError:
        """Count a post that is not stored, since its sender is not known; return the error to raise."""
        self._context.denials.count(kind, client)
        metrics.POSTS_REFUSED.labels(str(status)).inc()
        return PostRefusedError(status, reason)

    def _queue_size(self) -> int:
        return self._context.queues.received + self.group_commit.waiting

    def _check_pause(self) -> None:
        if self._context.config.system.intake_paused:
            raise PostRefusedError(503, Reason(ReasonCode.INTAKE_PAUSED))

    def _is_full(self) -> bool:
        return self._queue_size() >= self._context.settings.queue_max_size

    async def _wait_for_capacity(self) -> None:
        """Wait up to 0.8 s for capacity in a full queue, in the order of arrival.

        Fails closed: without capacity the post is refused with 503, an exit like an entry. It is not stored,
        so the sender must repeat it. Stored signals keep their place.
        """
        if not self._is_full() and not self._capacity_lock.locked():
            return
        try:
            async with asyncio.timeout(_CAPACITY_WAIT_SECONDS), self._capacity_lock:
                while self._is_full():  # noqa: ASYNC110  # commits, decisions and samples change it
                    await asyncio.sleep(_CAPACITY_POLL_SECONDS)
        except TimeoutError as error:
            raise PostRefusedError(503, Reason(ReasonCode.QUEUE_FULL)) from error

    def _post(self, alert: Alert, fields: Fields, source: AlertSource, envelope: Envelope) -> Post:
        webhook = self._context.config.webhook
        ages = webhook.max_signal_age_seconds
        key, request_id = envelope.idempotency_key, envelope.edge_request_id
        header = header_key(key, source.name) if key else None
        body = body_key(alert.digest, webhook.dedupe_window_seconds, source.name)
        if not header and not body and request_id:
            # A process that ended between commit and answer has stored it: a second post is no signal.
            header = edge_key(request_id, source.name)
        alert, too_old = check_age(alert, fields, source.max_source_age_seconds, self._context.clock.now)
        return Post(
            alert=alert,
            max_age=ages.buy if alert.reading.type == SignalType.BUY else ages.sell,
            header_key=header,
            body_key=body,
            source=source.name,
            quota=source.per_minute if is_limited(alert.reading) else None,
            rejection=too_old or alert.reading.reason,
        )

    async def _commit(self, post: Post, envelope: Envelope) -> tuple[UUID, bool]:
        """Return the id of the post's signal and whether the post is a duplicate."""
        try:
            self.group_commit.submit(post)
            resolution = await post.answer
        except OverloadedError as error:
            raise PostRefusedError(503, Reason(ReasonCode.OVERLOADED)) from error
        except NotCommittedInTimeError as error:
            raise PostRefusedError(503, Reason(ReasonCode.NOT_COMMITTED)) from error
        except RefusedByDatabaseError as error:
            raise PostRefusedError(422, Reason(ReasonCode.BODY_NOT_STORABLE)) from error
        if resolution.is_over_quota:
            raise PostRefusedError(503, Reason(ReasonCode.OVER_QUOTA, source=post.source, limit=post.quota))
        if resolution.signal_id is None:
            raise PostRefusedError(
                422, Reason(ReasonCode.KEY_USED, header=envelope.key_header or EDGE_HEADER)
            )
        return resolution.signal_id, resolution.signal_id != post.id


def _secret_fields(fields: Fields) -> tuple[bytes, ...]:
    """Return the candidate for the secret in the body, if there is one."""
    raw = fields.get(SECRET_FIELD)
    if raw is None:
        return ()
    text = decode_text(raw)
    return (raw if text is None else text.encode(),)
