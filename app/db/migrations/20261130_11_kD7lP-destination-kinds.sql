-- how each destination delivers
-- depends: 20261130_10_xD3rJ-exits-without-destination

-- migrate: apply

-- What is open or unfinished at a destination is of this kind. A destination without a row delivers as it is configured.
CREATE TABLE destination_kinds (
    destination text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('live', 'paper', 'removed'))
);
-- What is in use already is of the kind of its newest attempt.
INSERT INTO destination_kinds (destination, kind)
SELECT used.name, CASE WHEN newest.destination IN ('paper', used.name || ': paper') THEN 'paper' ELSE 'live' END
FROM (SELECT DISTINCT destination AS name FROM book_states WHERE is_open OR opening) AS used
CROSS JOIN LATERAL (
    SELECT destination FROM attempts WHERE sent_to = used.name AND NOT imported ORDER BY id DESC LIMIT 1) AS newest;

-- migrate: rollback

DROP TABLE destination_kinds;
