-- delivered exits by destination, for the cooldown after an exit, and what was delivered at several
-- depends: 20261130_08_dL5sO-dead-letters

-- migrate: apply

CREATE INDEX orders_exits_delivered ON orders (destination, ticker, ended_at)
    WHERE status = 'delivered' AND type <> 'buy' AND intent IS DISTINCT FROM 'adjust';
CREATE INDEX orders_shared_delivered ON orders (destination, ticker, ended_at) WHERE status = 'delivered' AND is_shared;

-- migrate: rollback

DROP INDEX orders_shared_delivered;
DROP INDEX orders_exits_delivered;
