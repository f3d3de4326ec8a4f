-- quantities and prices of positions
-- depends: 20261129_11_qT3nW-order-terms

-- migrate: apply

-- `quantity` NULL: unknown, as in every position that was opened before. `average_price` and `realized` are by the prices of alerts.
-- One destination so far: the unique index on the ticker of open positions holds for (destination, ticker), too.
ALTER TABLE positions
    ADD COLUMN destination text NOT NULL DEFAULT 'default',
    ADD COLUMN quantity numeric, ADD COLUMN average_price numeric, ADD COLUMN realized numeric;

-- migrate: rollback

ALTER TABLE positions DROP COLUMN destination, DROP COLUMN quantity, DROP COLUMN average_price, DROP COLUMN realized;
