-- orders of unfinished signals
-- depends: 20261130_02_oR4dT-orders

-- migrate: apply

-- After the trigger is committed: what a running version changes meanwhile has its order already, or gets it when this step commits.
INSERT INTO orders (signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts, expires_at,
                    not_before, claim_id, lease_until, ended_at)
SELECT * FROM orders_of_signals
WHERE signal_id = ANY (ARRAY (SELECT id FROM unfinished_signals)) AND ended_at IS NULL
ORDER BY seq
ON CONFLICT (signal_id, destination, round) DO NOTHING;

-- migrate: rollback

SELECT 1;
