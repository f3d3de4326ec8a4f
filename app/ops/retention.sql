-- Deletes what is older than the retention. Each statement deletes a small batch, so that no other one waits long for its locks.
-- A separate file: every statement in it is run, and its name is logged.

-- name: signals
-- $1 days, $2 batch size. Days count from the last change, for imported signals from their import. Events and attempts are
-- deleted with their signal. The limiter counts nothing older than an hour. The condition on `received_at` lets PostgreSQL use its index.
DELETE FROM signals
WHERE id IN (
    SELECT id FROM signals
    WHERE received_at < now() - make_interval(days => $1)
      AND status_at < now() - make_interval(days => $1)
      AND (imported_at IS NULL OR imported_at < now() - make_interval(days => $1))
      AND status IN ('rejected', 'forwarded', 'failed', 'expired')
    LIMIT $2
    FOR UPDATE SKIP LOCKED)

-- name: positions
-- $1 days, $2 batch size. Closed positions.
DELETE FROM positions
WHERE id IN (
    SELECT id FROM positions WHERE status = 'closed' AND closed_at < now() - make_interval(days => $1) LIMIT $2)

-- name: lists
-- $1 days, $2 how many of the oldest lists are examined. The newest list of each strategy is kept at any age.
DELETE FROM top_n_lists l
USING (SELECT id FROM top_n_lists ORDER BY id LIMIT $2) AS oldest
WHERE l.id = oldest.id
  AND l.fetched_at < now() - make_interval(days => $1)
  AND EXISTS (SELECT FROM top_n_lists n WHERE n.strategy = l.strategy AND n.id > l.id)

-- name: list_refreshes
-- $1 days, $2 batch size. Also of a list that is still the current one.
DELETE FROM list_refreshes
WHERE id IN (SELECT id FROM list_refreshes ORDER BY id LIMIT $2)
  AND at < now() - make_interval(days => $1)

-- name: decision_batches
-- $1 days, $2 batch size. What signals were decided by.
DELETE FROM decision_batches
WHERE id IN (SELECT id FROM decision_batches ORDER BY id LIMIT $2)
  AND at < now() - make_interval(days => $1)

-- name: paper
-- $1 days, $2 batch size.
DELETE FROM paper_deliveries
WHERE id IN (SELECT id FROM paper_deliveries ORDER BY id LIMIT $2)
  AND received_at < now() - make_interval(days => $1)

-- name: actions
-- $1 days, $2 batch size. The actions log is kept for at least a year.
DELETE FROM actions
WHERE id IN (SELECT id FROM actions ORDER BY id LIMIT $2)
  AND at < now() - make_interval(days => greatest($1, 365))

-- name: swallowed_exits
-- $1 days, $2 batch size.
DELETE FROM swallowed_exits
WHERE ctid IN (
    SELECT ctid FROM swallowed_exits WHERE at < now() - make_interval(days => $1) LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: settled_alarms
-- $1 days, $2 batch size. A day later than the signals that were settled.
DELETE FROM settled_alarms
WHERE (code, subject) IN (
    SELECT code, subject FROM settled_alarms WHERE until < now() - make_interval(days => $1 + 1) LIMIT $2)

-- name: alarms
-- $1 days, $2 batch size. Alarms that have ended.
DELETE FROM alarms
WHERE id IN (
    SELECT id FROM alarms WHERE ended_at < now() - make_interval(days => $1) LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: notifications
-- $1 days, $2 batch size. Also those of a target that is not configured any more.
DELETE FROM notifications
WHERE id IN (SELECT id FROM notifications ORDER BY id LIMIT $2)
  AND created_at < now() - make_interval(days => $1)

-- name: database_backups
-- $1 days, $2 batch size. The newest is kept at any age: an alarm says how old it is.
DELETE FROM database_backups
WHERE ctid IN (
    SELECT ctid FROM database_backups
    WHERE made_at < now() - make_interval(days => $1)
      AND made_at < (SELECT max(made_at) FROM database_backups WHERE made_at <= now())
    LIMIT $2
    FOR UPDATE SKIP LOCKED)

-- name: attempt_counts
-- $1 days (at least one), $2 batch size. No window of the limiter is longer than an hour.
DELETE FROM attempt_counts
WHERE (destination, seconds, start) IN (
    SELECT destination, seconds, start FROM attempt_counts
    WHERE start < now() - least(make_interval(days => $1), interval '2 hours')
    LIMIT $2)
