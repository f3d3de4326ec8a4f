-- name: lock
-- One refresher per database: the lock lives as long as the connection that took it (SPEC §12).
SELECT pg_try_advisory_lock(hashtextextended('screener', 0))

-- name: current
-- $1 strategy. Its list in force, with how its latest refresh ended; no row before the first good one.
SELECT l.strategy, l.source, l.tickers, l.fetched_at, l.max_age_seconds,
       extract(epoch FROM statement_timestamp() - l.fetched_at)::float8 AS age_seconds,
       l.max_age_seconds IS NULL
           OR l.fetched_at > statement_timestamp() - make_interval(secs => l.max_age_seconds) AS fresh,
       coalesce(r.error, '') AS error
FROM top_n_lists l
LEFT JOIN screener_refreshes r USING (strategy)
WHERE l.strategy = $1
ORDER BY l.id DESC
LIMIT 1

-- name: last_error
-- $1 strategy. Why its latest refresh failed, empty if it did not; no row before the first one.
SELECT error FROM screener_refreshes WHERE strategy = $1

-- name: renew
-- $1 strategy, $2 source, $3 max age, $4 tickers. Says so when the list in force is the very same one. The newest row of
-- all has to be this strategy's: coming back to a strategy writes a row, so that the page's history tells it.
UPDATE top_n_lists
SET fetched_at = clock_timestamp(), max_age_seconds = $3
WHERE id = (SELECT max(id) FROM top_n_lists) AND strategy = $1 AND source = $2 AND tickers = $4
RETURNING id

-- name: store
-- $1 strategy, $2 source, $3 max age, $4 tickers, $5 true when the list before was frozen, and so counts as fresh.
-- `entered` is what reprocessing starts from (SPEC §13): empty where the list before was not fresh, for then nobody knows
-- what was in it meanwhile.
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

-- name: succeeded
-- $1 strategy.
INSERT INTO screener_refreshes (strategy, error) VALUES ($1, '')
ON CONFLICT (strategy) DO UPDATE SET at = clock_timestamp(), error = ''

-- name: failed
-- $1 strategy, $2 error, $3 max age. The list in force ages by the rules of the source that stands in the configuration
-- now: one from `list:` must not stay fresh for ever once the strategy asks Finviz.
WITH aged AS (
    UPDATE top_n_lists SET max_age_seconds = $3
    WHERE id = (SELECT max(id) FROM top_n_lists WHERE strategy = $1) AND max_age_seconds IS DISTINCT FROM $3
)
INSERT INTO screener_refreshes (strategy, error) VALUES ($1, $2)
ON CONFLICT (strategy) DO UPDATE SET at = clock_timestamp(), error = excluded.error

-- name: ask_for_refresh
-- $1 strategy. Whoever refreshes looks for it every second.
INSERT INTO screener_refreshes (strategy, at, error, requested_at) VALUES ($1, 'epoch', '', clock_timestamp())
ON CONFLICT (strategy) DO UPDATE SET requested_at = clock_timestamp()
RETURNING requested_at

-- name: is_requested
-- $1 strategy. Asked for since its latest refresh ended.
SELECT requested_at > at FROM screener_refreshes WHERE strategy = $1
