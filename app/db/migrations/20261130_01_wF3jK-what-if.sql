-- what decisions were made by, and the refreshes of lists: for what-if
-- depends: 20261129_18_tR4dS-trades

-- migrate: apply

-- A batch of decisions, with everything that decided it but the signals themselves (app/decision/record.py). A version before writes
-- none: what it decides cannot be decided again. `signal_ids` in the order of the decisions; retention may have removed some.
CREATE TABLE decision_batches (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    signal_ids uuid[] NOT NULL,
    inputs     jsonb NOT NULL
);
CREATE INDEX decision_batches_by_time ON decision_batches (at, id);

-- Each good refresh of a list, also one that found it unchanged: `top_n_lists` has the time of the latest alone. `further` are the
-- tickers that were read below the Top-N, best first. `is_whole`: the source has no more than these. No foreign key, so no index for
-- it: there is a row every ten seconds. A refresh whose list is removed is not read any more, and is removed by its own age.
CREATE TABLE list_refreshes (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    list_id         bigint NOT NULL,
    strategy        text NOT NULL,
    at              timestamptz NOT NULL,
    max_age_seconds integer,          -- NULL: never stale
    top_n           integer NOT NULL,
    further         text[] NOT NULL,
    is_whole        boolean NOT NULL
);
CREATE INDEX list_refreshes_by_time ON list_refreshes (strategy, at, id);

-- migrate: rollback

DROP TABLE list_refreshes;
DROP TABLE decision_batches;
