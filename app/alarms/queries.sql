-- Typed functions over these statements: app/alarms/repository.py.

-- name: settle
-- $1 code, $2 subject, $3 until when, but never what has not happened yet. A later moment that another person settled stays.
INSERT INTO settled_alarms (code, subject, until) VALUES ($1, $2, least($3, clock_timestamp()))
ON CONFLICT (code, subject) DO UPDATE SET until = least(greatest(settled_alarms.until, excluded.until), clock_timestamp())

-- name: record_seen
-- $1 codes, $2 subjects of the alarms that a process sees, $3 seconds between two writes. A time ahead of a clock that has stepped
-- back is written anew. Sorted, so that two processes do not deadlock.
INSERT INTO alarms AS a (code, subject)
SELECT DISTINCT code, subject FROM unnest($1::text[], $2::text[]) AS seen (code, subject) ORDER BY code, subject
ON CONFLICT (code, subject) WHERE ended_at IS NULL DO UPDATE SET seen_at = clock_timestamp()
WHERE a.seen_at NOT BETWEEN clock_timestamp() - make_interval(secs => $3) AND clock_timestamp()

-- name: end_settled
-- $1 codes, $2 subjects, $3 since when of alarms that a person may settle. Ends those that were last seen before that: what they were
-- about was settled. A time ahead of the clock was written before it stepped back. Sorted, as above.
UPDATE alarms SET ended_at = clock_timestamp()
WHERE id IN (SELECT a.id
             FROM alarms a
             JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS seen (code, subject, since) USING (code, subject)
             WHERE a.ended_at IS NULL AND seen.since > a.seen_at AND seen.since <= clock_timestamp()
             ORDER BY code, subject
             FOR UPDATE OF a)
  AND ended_at IS NULL
RETURNING code, subject, began_at, ended_at, text, announced_at IS NOT NULL AS is_announced

-- name: end_unseen
-- $1 seconds. Ends the alarms that no process has seen for so long. One that was seen before the clock stepped back counts as seen now:
-- it would end only once the clock has caught up.
WITH ahead AS (
    UPDATE alarms SET seen_at = clock_timestamp()
    WHERE id IN (SELECT id FROM alarms WHERE ended_at IS NULL AND seen_at > clock_timestamp() FOR UPDATE SKIP LOCKED)
)
UPDATE alarms SET ended_at = clock_timestamp()
WHERE id IN (SELECT id FROM alarms
             WHERE ended_at IS NULL AND seen_at < clock_timestamp() - make_interval(secs => $1)
             FOR UPDATE SKIP LOCKED)
  AND ended_at IS NULL
RETURNING code, subject, began_at, ended_at, text, announced_at IS NOT NULL AS is_announced

-- name: read_open
SELECT code, subject, began_at, announced_at IS NOT NULL AS is_announced FROM alarms WHERE ended_at IS NULL

-- name: read_ended
-- $1 limit.
SELECT code, subject, began_at, ended_at FROM alarms WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT $1

-- name: lock_unannounced
-- $1 codes, $2 subjects of alarms to announce. Those of the codes $3 have lasted for $5 seconds, and are muted for $4 minutes after the
-- end of an announced one.
-- Skips locked rows: another process announces them.
SELECT a.id, a.code, a.subject, a.began_at
FROM alarms a
JOIN unnest($1::text[], $2::text[]) AS seen (code, subject) USING (code, subject)
WHERE a.ended_at IS NULL AND a.announced_at IS NULL
  AND NOT (a.code = ANY ($3::text[]) AND (
      a.began_at BETWEEN clock_timestamp() - make_interval(secs => $5) AND clock_timestamp()
      OR EXISTS (
          SELECT FROM alarms e
          WHERE e.code = a.code AND e.subject = a.subject AND e.announced_at IS NOT NULL
            AND e.ended_at > statement_timestamp() - make_interval(mins => $4) AND e.ended_at <= clock_timestamp())))
ORDER BY a.began_at
FOR UPDATE OF a SKIP LOCKED

-- name: mark_announced
-- $1 ids, $2 what is said of each.
UPDATE alarms SET announced_at = clock_timestamp(), text = said.text
FROM unnest($1::bigint[], $2::text[]) AS said (id, text)
WHERE alarms.id = said.id

-- name: enqueue
-- $1 targets, $2 name of a message that is sent once, NULL for any other, $3 severity, $4 title, $5 body. Returns the rows inserted.
INSERT INTO notifications (target, once, severity, title, body)
SELECT target, $2, $3, $4, $5 FROM unnest($1::text[]) AS target
ON CONFLICT (target, once) DO NOTHING

-- name: claim
-- $1 target, $2 seconds until another process may claim it, $3 failures. The target's oldest pending message, if it is due: messages
-- leave in order. One that has failed so often delays no other while it is not due: it may be refused always.
-- A time further ahead than any delay was written before the clock stepped back.
UPDATE notifications
SET claimed_until = clock_timestamp() + make_interval(secs => $2), attempts = attempts + 1
WHERE id = (SELECT id FROM notifications
            WHERE target = $1 AND sent_at IS NULL AND given_up_at IS NULL
              AND (attempts < $3 OR due_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 hour')
            ORDER BY id LIMIT 1
            FOR UPDATE)
  AND sent_at IS NULL AND given_up_at IS NULL
  AND (due_at <= clock_timestamp() OR due_at > clock_timestamp() + interval '1 hour')
  AND (claimed_until IS NULL OR claimed_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 hour')
RETURNING id, severity, title, body, attempts

-- name: record_sent
-- $1 id.
UPDATE notifications SET sent_at = clock_timestamp(), claimed_until = NULL, error = '' WHERE id = $1 AND sent_at IS NULL

-- name: record_failure
-- $1 id, $2 seconds until the next attempt, $3 error, $4 hours after which it is given up, but not a critical one. Returns whether it
-- is.
UPDATE notifications
SET claimed_until = NULL, due_at = clock_timestamp() + make_interval(secs => $2), error = $3,
    given_up_at = CASE WHEN severity <> 'critical' AND created_at < clock_timestamp() - make_interval(hours => $4) THEN clock_timestamp() END
WHERE id = $1 AND sent_at IS NULL
RETURNING given_up_at IS NOT NULL

-- name: read_failing
-- $1 targets, $2 failed attempts. Targets whose oldest message has failed so often; one that is under way has not failed yet.
SELECT target, count(*)::int AS waiting, min(created_at) AS since
FROM notifications
WHERE target = ANY ($1::text[]) AND sent_at IS NULL AND given_up_at IS NULL
GROUP BY target
HAVING max(attempts - CASE WHEN claimed_until IS NULL THEN 0 ELSE 1 END) >= $2

-- name: enqueue_for_new
-- $1 targets, $2 severity, $3 title, $4 body. For those that never had a message; returns the rows inserted.
INSERT INTO notifications (target, once, severity, title, body)
SELECT target, 'open alarms', $2, $3, $4
FROM unnest($1::text[]) AS target
WHERE NOT EXISTS (SELECT FROM notifications n WHERE n.target = target.target)
ON CONFLICT (target, once) DO NOTHING

-- name: read_targets
-- $1 targets. What became of their messages; `error` is that of the newest failure that was not followed by a success.
SELECT target,
       (count(*) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL))::int AS waiting,
       (count(*) FILTER (WHERE given_up_at IS NOT NULL))::int AS given_up,
       max(sent_at) AS last_sent_at,
       coalesce((array_agg(error ORDER BY id DESC) FILTER (WHERE error <> ''))[1], '') AS error
FROM notifications
WHERE target = ANY ($1::text[])
GROUP BY target

-- name: read_messages
-- $1 id, NULL for the newest, $2 limit. Messages before that id, the newest first. A claim that ran out, or that is further ahead than
-- any lasts, is an attempt that failed.
SELECT id, target, severity, title, left(body, 2000) AS body, created_at, attempts, error, sent_at,
       CASE WHEN sent_at IS NULL AND given_up_at IS NULL THEN due_at END AS due_at,
       CASE WHEN sent_at IS NOT NULL THEN 'sent'
            WHEN given_up_at IS NOT NULL THEN 'given_up'
            WHEN claimed_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 hour' THEN 'sending'
            WHEN attempts > 0 THEN 'retrying'
            ELSE 'waiting' END AS state
FROM notifications
WHERE $1::bigint IS NULL OR id < $1
ORDER BY id DESC LIMIT $2

-- name: read_last_backup
-- When the newest backup was made, NULL without one. One that was made before the clock stepped back counts as made now.
SELECT max(least(made_at, clock_timestamp())) FROM database_backups WHERE isfinite(made_at)

-- name: read_silence
-- $1 names of the sources that are expected, $2 how many of the newest signals are searched for those of `default`, which have no index,
-- $3 true during a pause of intake, which is nobody's silence. Since when each source is silent. What was known before stays known when
-- signals are deleted; it is written at most once a minute. A time ahead of the clock was written before it stepped back.
WITH heard AS (
    SELECT wanted.source, CASE WHEN $3 OR newest.at > clock_timestamp() THEN clock_timestamp() ELSE newest.at END AS at
    FROM unnest($1::text[]) AS wanted (source)
    LEFT JOIN LATERAL (
        (SELECT received_at AS at FROM signals
         WHERE wanted.source <> 'default' AND source = wanted.source AND imported_at IS NULL
         ORDER BY seq DESC
         LIMIT 1)
        UNION ALL
        (SELECT received_at FROM signals
         WHERE wanted.source = 'default' AND source_of(source, type) = 'default' AND imported_at IS NULL
           AND seq > (SELECT max(seq) FROM signals) - $2::bigint
         ORDER BY seq DESC
         LIMIT 1)
    ) AS newest ON true
), forgotten AS (
    DELETE FROM expected_sources WHERE source <> ALL ($1::text[])
), recorded AS (
    INSERT INTO expected_sources (source, silent_since)
    SELECT source, CASE WHEN known.silent_since <= clock_timestamp() THEN heard.at ELSE clock_timestamp() END
    FROM heard
    LEFT JOIN expected_sources AS known USING (source)
    WHERE known.source IS NULL OR known.silent_since > clock_timestamp() OR heard.at > known.silent_since + interval '1 minute'
    ORDER BY source
    ON CONFLICT (source) DO UPDATE SET silent_since = excluded.silent_since
)
SELECT source, least(greatest(coalesce(known.silent_since, clock_timestamp()), heard.at), clock_timestamp()) AS silent_since
FROM heard
LEFT JOIN expected_sources AS known USING (source)

-- name: read_other_kind
-- $1 names of the configured destinations, $2 the key of each in `attempts` on paper, $3 whether it is on paper now, $4 how many tickers
-- are returned. Destinations where positions are open that were opened while it was the other of live and paper. It follows from
-- what was sent: the attempts of the entries that were delivered or may have been, which every version records with the key of that time.
-- A position with any live entry is live. One without a known entry is of no kind: it was recorded by a person or imported, or its
-- entry is older than the retention.
-- A signal that opened an earlier position, too, such as one that was replayed, counts with what was sent since that one closed.
-- What was added is read only where the signal that opened the position was not sent to a broker.
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[]) AS g (name, paper_key, is_paper)
), open AS (
    SELECT p.ticker, p.destination, p.opened_at, p.opened_by, given.paper_key, given.is_paper
    FROM positions p
    JOIN given ON given.name = p.destination
    WHERE p.status <> 'closed'
)
SELECT open.destination, open.is_paper, count(*)::int AS positions, (array_agg(open.ticker ORDER BY open.ticker))[:$4] AS tickers
FROM open
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(a.destination <> open.paper_key), false) AS is_live,
           coalesce(bool_or(a.destination = open.paper_key), false) AS is_on_paper
    FROM (SELECT destination, ended_at FROM attempts
          WHERE signal_id = open.opened_by AND sent_to = open.destination AND outcome IN ('delivered', 'unknown')
          OFFSET 0) AS a
    WHERE EXISTS (SELECT FROM signals WHERE id = open.opened_by AND type = 'buy' OFFSET 0)
      AND NOT EXISTS (
          SELECT FROM positions earlier
          WHERE earlier.status = 'closed' AND earlier.ticker = open.ticker AND earlier.closed_at > a.ended_at
            AND earlier.destination = open.destination AND earlier.opened_by = open.opened_by
          OFFSET 0)
) AS own
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(a.destination <> open.paper_key), false) AS is_live,
           coalesce(bool_or(a.destination = open.paper_key), false) AS is_on_paper
    FROM (
        -- each part has an index; the second has what is unfinished or failed at another destination
        (SELECT id FROM signals
         WHERE ticker = open.ticker AND status = 'forwarded' AND status_at > open.opened_at AND type = 'buy'
         OFFSET 0)
        UNION ALL
        (SELECT signal_id FROM orders
         WHERE destination = open.destination AND ticker = open.ticker AND status = 'delivered' AND is_shared
           AND ended_at > open.opened_at AND type = 'buy'
         OFFSET 0)) AS entry
    CROSS JOIN LATERAL (
        SELECT destination FROM attempts
        WHERE signal_id = entry.id AND sent_to = open.destination AND outcome = 'delivered' AND ended_at > open.opened_at AND NOT imported
        OFFSET 0) AS a
    WHERE NOT own.is_live
) AS added
WHERE CASE WHEN own.is_live OR added.is_live THEN open.is_paper ELSE NOT open.is_paper AND (own.is_on_paper OR added.is_on_paper) END
GROUP BY open.destination, open.is_paper
ORDER BY open.destination

-- name: read_day
-- Signals of the last 24 hours by status, and what is open now.
SELECT count(*)::int AS received,
       (count(*) FILTER (WHERE status = 'rejected'))::int AS rejected,
       (count(*) FILTER (WHERE status = 'forwarded'))::int AS delivered,
       (count(*) FILTER (WHERE status = 'failed'))::int AS failed,
       (count(*) FILTER (WHERE status = 'expired'))::int AS expired,
       (SELECT count(*) FROM positions WHERE status <> 'closed')::int AS positions,
       (SELECT count(*) FROM alarms WHERE ended_at IS NULL)::int AS alarms
FROM signals
WHERE received_at > statement_timestamp() - interval '24 hours' AND imported_at IS NULL
