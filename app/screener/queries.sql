-- Lists of tickers per strategy, and how the refreshes ended. Used by repository.py only.

-- name: try_lock_refresher
-- One refresher per database: the lock lives as long as the session that acquired it.
SELECT pg_try_advisory_lock(hashtextextended('screener', 0))

-- name: current_list
-- $1 strategy. Its current list, with how its latest refresh ended; no row before the first good one.
SELECT l.strategy, l.source, l.tickers, l.fetched_at, l.max_age_seconds,
       extract(epoch FROM statement_timestamp() - l.fetched_at)::float8 AS age_seconds,
       l.max_age_seconds IS NULL
           OR l.fetched_at > statement_timestamp() - make_interval(secs => l.max_age_seconds) AS is_fresh,
       coalesce(r.error, '') AS error
FROM top_n_lists l
LEFT JOIN screener_refreshes r USING (strategy)
WHERE l.strategy = $1
ORDER BY l.id DESC
LIMIT 1

-- name: last_error
-- $1 strategy. Why its latest refresh failed, empty if it did not; no row before the first one.
SELECT error FROM screener_refreshes WHERE strategy = $1

-- name: renew_list
-- $1 strategy, $2 source, $3 maximum age in seconds, $4 tickers. No row unless the current list is exactly this one.
-- The newest row of all has to be this strategy's: a return to a strategy inserts a row, so that the history shows it.
UPDATE top_n_lists
SET fetched_at = clock_timestamp(), max_age_seconds = $3
WHERE id = (SELECT max(id) FROM top_n_lists) AND strategy = $1 AND source = $2 AND tickers = $4
RETURNING id

-- name: insert_list
-- $1 strategy, $2 source, $3 maximum age in seconds, $4 tickers, $5 true after a pause: the list before counts as fresh.
-- Reprocessing starts from `entered`. It is empty where the list before was stale: its contents meanwhile are unknown.
WITH before AS (
    SELECT tickers
    FROM top_n_lists
    WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1)
      AND ($5::boolean OR max_age_seconds IS NULL
           OR fetched_at > statement_timestamp() - make_interval(secs => max_age_seconds))
)
INSERT INTO top_n_lists (strategy, source, max_age_seconds, tickers, entered)
SELECT $1, $2, $3, $4::text[], coalesce((
    SELECT array_agg(ticker ORDER BY rank)
    FROM before, unnest($4::text[]) WITH ORDINALITY AS found (ticker, rank)
    WHERE ticker <> ALL (before.tickers)
), '{}')

-- name: record_success
-- $1 strategy.
INSERT INTO screener_refreshes (strategy, error) VALUES ($1, '')
ON CONFLICT (strategy) DO UPDATE SET at = clock_timestamp(), error = ''

-- name: record_failure
-- $1 strategy, $2 error, $3 maximum age in seconds. The current list ages by the rules of the source that is configured
-- now: a list from `list:` must become stale once the strategy reads Finviz.
WITH aged AS (
    UPDATE top_n_lists SET max_age_seconds = $3
    WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1) AND max_age_seconds IS DISTINCT FROM $3
)
INSERT INTO screener_refreshes (strategy, error) VALUES ($1, $2)
ON CONFLICT (strategy) DO UPDATE SET at = clock_timestamp(), error = excluded.error

-- name: request_refresh
-- $1 strategy. The refresher looks for requests every second.
INSERT INTO screener_refreshes (strategy, at, error, requested_at) VALUES ($1, 'epoch', '', clock_timestamp())
ON CONFLICT (strategy) DO UPDATE SET requested_at = clock_timestamp()
RETURNING requested_at

-- name: is_refresh_requested
-- $1 strategy. True when it was requested after its latest refresh ended; no row before the first refresh or request.
SELECT requested_at > at FROM screener_refreshes WHERE strategy = $1
