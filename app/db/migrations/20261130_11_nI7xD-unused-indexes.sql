-- indexes that no statement reads any more: orders have their own, and signals_delivered has the exits of a ticker by time
-- depends: 20261130_10_xD3rJ-exits-without-destination 20261129_11_dX6eK-delivered-exits

-- migrate: apply

DROP INDEX signals_to_deliver;
DROP INDEX signals_exits_delivered;
DROP INDEX signals_exits_delivered_at;
DROP INDEX attempts_by_end;

-- migrate: rollback

CREATE INDEX signals_to_deliver ON signals ((type = 'buy'), seq) WHERE status = 'approved';
CREATE INDEX signals_exits_delivered ON signals (ticker, seq) WHERE status = 'forwarded' AND type <> 'buy';
CREATE INDEX signals_exits_delivered_at ON signals (ticker, status_at)
WHERE status = 'forwarded' AND type <> 'buy' AND imported_at IS NULL AND intent IS DISTINCT FROM 'adjust';
CREATE INDEX attempts_by_end ON attempts (destination, ended_at DESC) WHERE ended_at IS NOT NULL;
