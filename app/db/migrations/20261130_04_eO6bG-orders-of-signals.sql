-- orders of the signals that were there before
-- depends: 20261130_03_uA5bF-unknown-orders
-- transaction: false

-- migrate: apply

-- A version before serves meanwhile, and what it changes since the trigger was made has its order. A batch commits at once: a claim
-- passes over its signals, exits too, until then. It waits for no lock, so nothing waits for it in a circle:
-- a signal that is locked, as by a claim or by its removal, is tried again. May be run again after an error.
DO $$
DECLARE
    place  bigint := 0;
    last   bigint;
    batch  uuid[];
    locked uuid[];
    began  timestamptz;
BEGIN
    LOOP
        SELECT array_agg(id), max(seq) INTO batch, last
        FROM (SELECT id, seq FROM signals WHERE seq > place ORDER BY seq LIMIT 100) AS next;
        EXIT WHEN batch IS NULL;
        began := clock_timestamp();
        LOOP
            SELECT array_agg(id) INTO locked
            FROM (SELECT id FROM signals WHERE id = ANY (batch) FOR NO KEY UPDATE SKIP LOCKED) AS free;
            INSERT INTO orders (signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status, attempts,
                                expires_at, not_before, claim_id, lease_until, ended_at)
            SELECT * FROM orders_of_signals WHERE signal_id = ANY (locked)
            ORDER BY seq
            ON CONFLICT (signal_id, destination, round) DO NOTHING;
            COMMIT;
            batch := ARRAY (
                SELECT signal_id FROM orders_of_signals v
                WHERE signal_id = ANY (batch)
                  AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = v.signal_id AND o.round = v.round));
            EXIT WHEN batch = '{}';
            IF clock_timestamp() > began + interval '20 s' THEN
                RAISE lock_not_available USING MESSAGE = 'another transaction has locked a signal for 20 s';
            END IF;
            COMMIT;
            PERFORM pg_sleep(0.02);
        END LOOP;
        place := last;
    END LOOP;
END $$;

-- migrate: rollback

SELECT 1;
