-- stored posts whose senders may not know it: equal ones that follow are resends
-- depends: 20261129_05_uR6dP-unread-alerts

-- migrate: apply

-- No foreign key: a commit whose result was lost may store the signal later.
CREATE TABLE unanswered_posts (
    signal_id uuid PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX unanswered_posts_by_time ON unanswered_posts (at);

-- Processes that store posts, by the server process of their connection. One that is gone without its row being deleted crashed.
CREATE TABLE intake_processes (
    id            uuid PRIMARY KEY,
    backend_pid   integer NOT NULL,
    backend_start timestamptz NOT NULL
);

-- migrate: rollback

DROP TABLE unanswered_posts, intake_processes;
