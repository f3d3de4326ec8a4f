-- what failed or expired at a destination
-- depends: 20261130_07_pD2hK-positions-by-destination 20261129_04_dS5hP-destination-reasons 20261129_14_sR7cN-signal-sources

-- migrate: apply

-- Signals with an order that failed or expired, while none of theirs is unfinished; and those whose order at another destination is:
-- they have the status and reason of what has ended. Imported history is left out.
CREATE VIEW dead_letters AS
SELECT id, seq, status, type, ticker, reason, reason_code, reason_params, received_at, status_at, attempts, round, source, quantity,
       quantity_unit, price, sender_signal_id
FROM signals
WHERE status IN ('failed', 'expired') AND type IS NOT NULL AND imported_at IS NULL
UNION ALL
SELECT s.id, s.seq, dead.status, s.type, s.ticker, coalesce(e.reason, s.reason),
       CASE WHEN e.id IS NULL THEN s.reason_code ELSE e.reason_code END,
       CASE WHEN e.id IS NULL THEN s.reason_params ELSE e.reason_params END,
       s.received_at, dead.ended_at, s.attempts, s.round, s.source, s.quantity, s.quantity_unit, s.price, s.sender_signal_id
FROM (SELECT DISTINCT signal_id FROM orders WHERE ended_at IS NULL AND is_shared) AS unfinished
CROSS JOIN LATERAL (
    SELECT CASE WHEN bool_or(status <> 'expired') THEN 'failed' ELSE 'expired' END AS status, max(ended_at) AS ended_at
    FROM undelivered_orders
    WHERE signal_id = unfinished.signal_id
    HAVING count(*) > 0) AS dead
JOIN signals s ON s.id = unfinished.signal_id
LEFT JOIN LATERAL (
    SELECT id, reason, reason_code, reason_params FROM signal_events
    WHERE signal_id = s.id AND status = dead.status
    ORDER BY id DESC
    LIMIT 1) AS e ON true
WHERE CASE s.status WHEN 'approved' THEN true WHEN 'forwarding' THEN true ELSE false END;

-- migrate: rollback

DROP VIEW dead_letters;
