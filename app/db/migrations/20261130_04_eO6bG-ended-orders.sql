-- orders of signals that have ended
-- depends: 20261130_03_uO5bF-unfinished-orders

-- migrate: apply

-- Alone, since it reads every signal. It waits for nothing that is pending, and no delivery waits for it.
INSERT INTO orders (signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts, expires_at,
                    not_before, claim_id, lease_until, ended_at)
SELECT * FROM orders_of_signals WHERE ended_at IS NOT NULL
ORDER BY seq
ON CONFLICT (signal_id, destination, round) DO NOTHING;

-- migrate: rollback

SELECT 1;
