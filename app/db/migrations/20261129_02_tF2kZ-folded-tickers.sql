-- tickers in the form by which they are compared, whichever version stores them
-- depends: 20261129_01_uC4fP-unconfirmed-positions

-- migrate: apply

-- In the order in which deliveries lock them. Until the end nothing else is stored, so nothing keeps its old form.
LOCK TABLE signals, positions IN SHARE ROW EXCLUSIVE MODE;

-- The version before stores what its sender wrote, while it serves on and after a rollback: an exit of BRK.B would not find its position.
CREATE OR REPLACE FUNCTION fold_ticker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ticker := translate(NEW.ticker, './', '--');
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER fold_ticker BEFORE INSERT ON signals
    FOR EACH ROW WHEN (NEW.ticker <> translate(NEW.ticker, './', '--')) EXECUTE FUNCTION fold_ticker();
CREATE OR REPLACE TRIGGER fold_ticker BEFORE INSERT ON positions
    FOR EACH ROW WHEN (NEW.ticker <> translate(NEW.ticker, './', '--')) EXECUTE FUNCTION fold_ticker();

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

-- Folded tickers and triggers stay: the version before finds each ticker in its one form.
SELECT 1;
