-- what each alert asks for
-- depends: 20261129_03_cW8hN-longer-tickers

-- migrate: apply

-- open, add, close, reduce, reduce_or_close, adjust; 'unread': rejected, and it may have been an exit. NULL: not an alert, rejected as
-- an entry, or stored by an earlier version.
ALTER TABLE signals ADD COLUMN intent text;

-- migrate: rollback

ALTER TABLE signals DROP COLUMN intent;
