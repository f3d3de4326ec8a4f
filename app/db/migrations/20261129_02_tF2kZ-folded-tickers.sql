-- tickers of open positions and unfinished signals, in the form by which tickers are compared
-- depends: 20261129_01_uC4fP-unconfirmed-positions

-- migrate: apply

-- BRK.B and BRK-B are one position now. Of two open ones the newer ends in the older.
WITH same AS (
    SELECT id, first_value(id) OVER (PARTITION BY translate(ticker, './', '--') ORDER BY opened_at, id) AS kept, buys,
           confirmed
    FROM positions WHERE status = 'open'
), merged AS (
    UPDATE positions p
    SET status = 'closed', closed_at = clock_timestamp(), reason = 'merged with a position of the same ticker'
    FROM same WHERE p.id = same.id AND same.kept <> p.id
)
UPDATE positions p SET buys = total.buys, confirmed = total.confirmed
FROM (SELECT kept, sum(buys) AS buys, bool_or(confirmed) AS confirmed FROM same GROUP BY kept HAVING count(*) > 1) AS total
WHERE p.id = total.kept;
UPDATE positions SET ticker = translate(ticker, './', '--') WHERE ticker LIKE '%.%';
UPDATE signals SET ticker = translate(ticker, './', '--')
WHERE status IN ('received', 'approved', 'forwarding') AND ticker LIKE '%.%';

-- migrate: rollback

-- Nothing: the version before reads the folded tickers, too.
SELECT 1;
