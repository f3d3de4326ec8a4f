-- ends of attempts, counted by minute and second for the rate limits
-- depends: 20261128_07_hN2wC-counted-attempts 20261128_01_kV6dE-overdue-orders

-- migrate: apply

-- A window is the sum of its whole minutes, its first seconds and the attempts of its first second, however large the limit is.
-- Kept by triggers, in the transaction that ends the attempt, so that it holds whichever version of the application writes.
CREATE TABLE attempt_counts (
    destination text NOT NULL,
    seconds     smallint NOT NULL CHECK (seconds IN (1, 60)),
    start       timestamptz NOT NULL,
    ends        integer NOT NULL,
    PRIMARY KEY (destination, seconds, start)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Minutes before seconds, each in the order of time: two transactions that end attempts lock rows in the same order.
CREATE FUNCTION count_updated_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.attempt_counts AS c (destination, seconds, start, ends)
    SELECT change.destination, part.seconds, part.start, sum(change.ends)
    FROM (
        SELECT destination, ended_at, 1 AS ends FROM added WHERE ended_at IS NOT NULL AND NOT imported
        UNION ALL
        SELECT destination, ended_at, -1 FROM removed WHERE ended_at IS NOT NULL AND NOT imported
    ) AS change
    CROSS JOIN LATERAL (VALUES
        (60::smallint, date_trunc('minute', change.ended_at, 'UTC')),
        (1::smallint, date_trunc('second', change.ended_at, 'UTC'))) AS part (seconds, start)
    GROUP BY change.destination, part.seconds, part.start
    HAVING sum(change.ends) <> 0
    ORDER BY part.seconds DESC, change.destination, part.start
    ON CONFLICT (destination, seconds, start) DO UPDATE SET ends = c.ends + excluded.ends;
    RETURN NULL;
END $$;

-- Attempts arrive with an end when a database is restored beside another one; imported history counts for nothing.
CREATE FUNCTION count_inserted_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM added WHERE ended_at IS NOT NULL AND NOT imported) THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.attempt_counts AS c (destination, seconds, start, ends)
    SELECT a.destination, part.seconds, part.start, count(*)
    FROM added a
    CROSS JOIN LATERAL (VALUES
        (60::smallint, date_trunc('minute', a.ended_at, 'UTC')),
        (1::smallint, date_trunc('second', a.ended_at, 'UTC'))) AS part (seconds, start)
    WHERE a.ended_at IS NOT NULL AND NOT a.imported
    GROUP BY a.destination, part.seconds, part.start
    ORDER BY part.seconds DESC, a.destination, part.start
    ON CONFLICT (destination, seconds, start) DO UPDATE SET ends = c.ends + excluded.ends;
    -- the version before imports history without the mark; with it the count is taken back
    UPDATE public.attempts SET imported = true
    WHERE id IN (
        SELECT a.id FROM added a JOIN public.signals s ON s.id = a.signal_id
        WHERE a.ended_at IS NOT NULL AND NOT a.imported AND s.imported_at IS NOT NULL);
    RETURN NULL;
END $$;

CREATE FUNCTION forget_all_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE public.attempt_counts;
    RETURN NULL;
END $$;

CREATE TRIGGER count_updated_ends AFTER UPDATE ON attempts
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_updated_ends();
CREATE TRIGGER count_inserted_ends AFTER INSERT ON attempts
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_inserted_ends();
CREATE TRIGGER forget_all_ends AFTER TRUNCATE ON attempts FOR EACH STATEMENT EXECUTE FUNCTION forget_all_ends();

INSERT INTO attempt_counts (destination, seconds, start, ends)
SELECT a.destination, part.seconds, part.start, count(*)
FROM attempts a
CROSS JOIN LATERAL (VALUES
    (60::smallint, date_trunc('minute', a.ended_at, 'UTC')),
    (1::smallint, date_trunc('second', a.ended_at, 'UTC'))) AS part (seconds, start)
WHERE a.ended_at > now() - interval '2 hours' AND NOT a.imported
GROUP BY a.destination, part.seconds, part.start;

-- migrate: rollback

DROP TRIGGER count_updated_ends ON attempts;
DROP TRIGGER count_inserted_ends ON attempts;
DROP TRIGGER forget_all_ends ON attempts;
DROP FUNCTION count_updated_ends, count_inserted_ends, forget_all_ends;
DROP TABLE attempt_counts;
