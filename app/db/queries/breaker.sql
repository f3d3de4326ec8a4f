-- A destination that keeps failing (SPEC §10). `probe_at` set: it does, and one probe at a time may leave from then on.

-- name: state
-- $1 destination. Locked, so that two failures are dealt with one after the other.
SELECT probe_at, failed_probes FROM destinations WHERE destination = $1 FOR UPDATE

-- name: recent
-- $1 destination, $2 errors of our own making, $3 how many. What the latest attempts came to, newest first.
SELECT signal_id, outcome, http_status
FROM attempts
WHERE destination = $1 AND ended_at IS NOT NULL AND NOT imported
  AND http_status IS DISTINCT FROM 429 AND (error IS NULL OR error <> ALL ($2::text[]))
ORDER BY ended_at DESC
LIMIT $3

-- name: trip
-- $1 destination, $2 seconds, $3 reason. No row: another transaction was first.
INSERT INTO destinations AS d (destination, held_until, reason, probe_at)
VALUES ($1, clock_timestamp(), $3, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (destination) DO UPDATE
SET probe_at = excluded.probe_at, failed_probes = 0, reason = excluded.reason
WHERE d.probe_at IS NULL
RETURNING true

-- name: probe_failed
-- $1 destination, $2 seconds, $3 reason.
UPDATE destinations
SET probe_at = clock_timestamp() + make_interval(secs => $2), failed_probes = failed_probes + 1, reason = $3
WHERE destination = $1

-- name: answered
-- $1 destination. A row only where it was failing before.
UPDATE destinations SET probe_at = NULL, failed_probes = 0 WHERE destination = $1 AND probe_at IS NOT NULL
RETURNING true

-- name: is_failing
-- $1 destination.
SELECT EXISTS (SELECT FROM destinations WHERE destination = $1 AND probe_at IS NOT NULL)

-- name: failing_reason
-- $1 destination. How its last attempt failed; no row while it works.
SELECT reason FROM destinations WHERE destination = $1 AND probe_at IS NOT NULL
