-- Lists of tickers per strategy, and how the refreshes ended. Used by repository.py only.

-- name: try_lock_refresher
-- One refresher per database: the lock lives as long as the session that acquired it.
SELECT pg_try_advisory_lock(hashtextextended('screener', 0))

-- name: current_list
-- $1 strategy. Its current list, with how its latest refresh ended; no row before the first good one.
-- Fails closed: a list whose time is ahead of the clock is of unknown age, and not fresh.
SELECT l.strategy, l.source, l.tickers, l.fetched_at, l.max_age_seconds,
       extract(epoch FROM statement_timestamp() - l.fetched_at)::float8 AS age_seconds,
       l.max_age_seconds IS NULL
           OR (l.fetched_at > statement_timestamp() - make_interval(secs => l.max_age_seconds) AND l.fetched_at <= clock_timestamp()) AS is_fresh,
       coalesce(r.error, '') AS error, r.error_code, r.error_params
FROM top_n_lists l
LEFT JOIN screener_refreshes r USING (strategy)
WHERE l.strategy = $1
ORDER BY l.id DESC
LIMIT 1

-- name: last_error
-- $1 strategy. Why its latest refresh failed, empty if it did not; no row before the first one.
SELECT error, error_code, error_params FROM screener_refreshes WHERE strategy = $1

-- name: renew_list
-- $1 strategy, $2 source, $3 maximum age in seconds, $4 tickers, $5 size of the Top-N, $6 tickers below it, $7 true if there are no
-- more. No row unless the current list is exactly this one.
-- The newest row of all has to be this strategy's: a return to a strategy inserts a row, so that the history shows it.
WITH renewed AS (
    UPDATE top_n_lists
    SET fetched_at = clock_timestamp(), max_age_seconds = $3
    WHERE id = (SELECT max(id) FROM top_n_lists) AND strategy = $1 AND source = $2 AND tickers = $4
    RETURNING id, strategy, fetched_at, max_age_seconds
)
INSERT INTO list_refreshes (list_id, strategy, at, max_age_seconds, top_n, further, is_whole)
SELECT id, strategy, fetched_at, max_age_seconds, $5, $6, $7 FROM renewed
RETURNING list_id

-- name: insert_list
-- $1 … $7 as of `renew_list`, $8 true after a pause: the list before counts as fresh.
-- Reprocessing starts from `entered`. It is empty where the list before was stale: its contents meanwhile are unknown.
WITH before AS (
    SELECT tickers
    FROM top_n_lists
    WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1)
      AND ($8::boolean OR max_age_seconds IS NULL
           OR (fetched_at > statement_timestamp() - make_interval(secs => max_age_seconds) AND fetched_at <= clock_timestamp()))
), inserted AS (
    INSERT INTO top_n_lists (strategy, source, max_age_seconds, tickers, entered)
    SELECT $1, $2, $3, $4::text[], coalesce((
        SELECT array_agg(ticker ORDER BY rank)
        FROM before, unnest($4::text[]) WITH ORDINALITY AS found (ticker, rank)
        WHERE ticker <> ALL (before.tickers)
    ), '{}')
    RETURNING id, strategy, fetched_at, max_age_seconds
)
INSERT INTO list_refreshes (list_id, strategy, at, max_age_seconds, top_n, further, is_whole)
SELECT id, strategy, fetched_at, max_age_seconds, $5, $6, $7 FROM inserted

-- name: record_success
-- $1 strategy.
INSERT INTO screener_refreshes (strategy, error) VALUES ($1, '')
ON CONFLICT (strategy) DO UPDATE SET at = clock_timestamp(), error = ''

-- name: record_failure
-- $1 strategy, $2 maximum age in seconds, $3 error, $4 its code, $5 its parameters. The current list ages by the rules of the source that is configured
-- now: a list from `list:` must become stale once the strategy reads Finviz.
WITH aged AS (
    UPDATE top_n_lists SET max_age_seconds = $2
    WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1) AND max_age_seconds IS DISTINCT FROM $2
)
INSERT INTO screener_refreshes (strategy, error, error_code, error_params) VALUES ($1, $3, $4, $5)
ON CONFLICT (strategy) DO UPDATE
SET at = clock_timestamp(), error = excluded.error, error_code = excluded.error_code, error_params = excluded.error_params

-- name: request_refresh
-- $1 strategy. The refresher looks for requests every second.
INSERT INTO screener_refreshes (strategy, at, error, requested_at) VALUES ($1, 'epoch', '', clock_timestamp())
ON CONFLICT (strategy) DO UPDATE SET requested_at = clock_timestamp()
RETURNING requested_at

-- name: is_refresh_requested
-- $1 strategy. True when it was requested after its latest refresh ended; no row before the first refresh or request.
-- Fails open: after the clock has stepped back the end is ahead of it, and one refresh too many is better than one too few.
SELECT requested_at > at OR at > clock_timestamp() FROM screener_refreshes WHERE strategy = $1

-- name: shift_lists
-- $1 seconds, $2 true while the size of the step is unknown, $3 a time by the clock of now: what was fetched before it was stored
-- before the clock stepped back; NULL where none is known. Lists become as old as they are.
-- Fails closed: a list of unknown age is stale, so buys wait for the next refresh.
UPDATE top_n_lists
SET fetched_at = CASE
        WHEN $2::boolean THEN least(
            fetched_at - make_interval(secs => $1),
            clock_timestamp() - make_interval(secs => coalesce(max_age_seconds, 0)))
        ELSE fetched_at - make_interval(secs => $1) END
WHERE fetched_at > clock_timestamp()
   OR (fetched_at < $3::timestamptz AND id IN (SELECT max(id) FROM top_n_lists GROUP BY strategy))

-- name: shift_refreshes
-- $1 seconds. The ends of refreshes and the requests that are ahead of the clock. A request of before its refresh stays before it.
UPDATE screener_refreshes
SET at = CASE WHEN at > clock_timestamp() THEN at - make_interval(secs => $1) ELSE at END,
    requested_at = CASE
        WHEN requested_at > clock_timestamp() THEN requested_at - make_interval(secs => $1) ELSE requested_at END
WHERE greatest(at, requested_at) > clock_timestamp()
