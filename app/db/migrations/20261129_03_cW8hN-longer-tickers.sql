-- tickers of 1 to 40 characters
-- depends: 20261129_02_tF2kZ-folded-tickers

-- migrate: apply

-- Alone: the lock of a new check holds back every delivery until its transaction ends.
-- NOT VALID: what is stored meets the narrower check, so no row needs to be read.
ALTER TABLE signals DROP CONSTRAINT signals_ticker_check;
ALTER TABLE signals ADD CONSTRAINT signals_ticker_check CHECK (ticker ~ '^[^\u0001-\u001f\u007f]{1,40}$') NOT VALID;

-- migrate: rollback

-- The wider check stays: the narrower one would refuse every change of a row that does not meet it.
SELECT 1;
