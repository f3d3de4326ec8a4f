-- what the order of a signal asks for
-- depends: 20261129_10_eS5xC-expired-sells

-- migrate: apply

-- `intent` is what the alert asks for, and from the decision on what its order does. Both versions know the same words.
-- `quantity` is in `quantity_unit` (shares, percent, other); `sentiment` is the position after the order. NULL: none, or the signal was
-- decided by an earlier version.
ALTER TABLE signals ADD COLUMN quantity numeric, ADD COLUMN quantity_unit text, ADD COLUMN sentiment text;

CREATE OR REPLACE VIEW unfinished_signals AS
SELECT id, seq, status, type, ticker, received_at, renewed_at, expires_at, status_at, not_before, lease_until,
       CASE status WHEN 'received' THEN true ELSE false END AS is_undecided,
       CASE status WHEN 'forwarding' THEN true ELSE expires_at > statement_timestamp() END AS is_live,
       CASE status WHEN 'received' THEN false WHEN 'forwarding' THEN true ELSE expires_at > statement_timestamp() END AS is_pending,
       intent, quantity, quantity_unit, sentiment
FROM signals
WHERE status IN ('received', 'approved', 'forwarding');

-- migrate: rollback

-- The columns and the view stay: a view loses no column while another one reads it.
SELECT 1;
