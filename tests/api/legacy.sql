-- The database of the replaced system, with rows.

-- name: schema
CREATE TABLE signals (
    signal_id uuid PRIMARY KEY, ticker text, normalised_ticker text, side text, price double precision, status text,
    signal_type text, created_at timestamptz, updated_at timestamptz, original_signal jsonb);
CREATE TABLE signal_events (
    event_id bigserial PRIMARY KEY, signal_id uuid REFERENCES signals, timestamp timestamptz, status text, details text,
    worker_id text);
CREATE TABLE positions (
    id serial PRIMARY KEY, ticker text, status text, entry_signal_id uuid, exit_signal_id uuid, opened_at timestamptz,
    closed_at timestamptz);
CREATE TABLE finviz_urls (
    id serial PRIMARY KEY, name text, url text, description text, top_n integer, refresh_interval_sec integer,
    reprocess_enabled boolean, reprocess_window_seconds integer, respect_sell_chronology_enabled boolean,
    sell_chronology_window_seconds integer, is_active boolean);
CREATE TABLE admin_actions (
    action_id bigserial PRIMARY KEY, timestamp timestamptz DEFAULT now(), action_type text, action_name text,
    admin_token text, ip_address inet, user_agent text, details jsonb, target_resource text,
    success boolean DEFAULT true, error_message text, execution_time_ms integer);

-- name: signals
-- Ten statuses and six types in turn, a signal a minute, the newest now; the alert has the token every hundredth time.
INSERT INTO signals
SELECT md5('signal' || n)::uuid, CASE WHEN n % 50 = 0 THEN 'nyse:brk.b' ELSE 'T' || n % 400 END, 'T' || n % 400,
       CASE WHEN n % 2 = 0 THEN 'buy' ELSE 'sell' END, CASE WHEN n % 7 = 0 THEN NULL ELSE n / 10.0 END,
       (ARRAY['received', 'processing', 'approved', 'rejected', 'queued_forwarding', 'forwarding', 'forwarded_success',
              'forwarded_http_error', 'forwarded_generic_error', 'error'])[1 + n % 10],
       (ARRAY['buy', 'sell', 'manual_sell', 'position_close', 'sell_all', 'manual_close'])[1 + n % 6],
       now() - make_interval(mins => $1::integer - n), now() - make_interval(mins => $1::integer - n, secs => -1),
       CASE WHEN n % 9 = 0 THEN NULL
            WHEN n % 100 = 0 THEN jsonb_build_object('ticker', 'T' || n % 400, 'token', $2::text, 'note', 'by ' || $2::text)
            ELSE jsonb_build_object('ticker', 'T' || n % 400, 'side', 'buy', 'price', 1.5000000000000000001) END
FROM generate_series(1, $1::integer) AS n

-- name: events
INSERT INTO signal_events (signal_id, timestamp, status, details, worker_id)
SELECT s.signal_id, s.created_at + make_interval(secs => e.number), CASE e.number WHEN 1 THEN 'received' ELSE s.status END,
       CASE e.number WHEN 1 THEN NULL ELSE 'it became ' || s.status || CASE WHEN s.price = 100 THEN ' by ' || $1::text ELSE '' END END,
       'worker-' || e.number
FROM signals s, generate_series(1, 2) AS e (number)

-- name: positions
-- 30 open, 10 closing, 60 closed lately, 20 closed long ago; T1 is open twice.
INSERT INTO positions (ticker, status, entry_signal_id, opened_at, closed_at)
SELECT 'T' || CASE WHEN n = 2 THEN 1 ELSE n END,
       CASE WHEN n <= 30 THEN 'open' WHEN n <= 40 THEN 'closing' ELSE 'closed' END, md5('signal' || n)::uuid,
       now() - make_interval(days => 100) + make_interval(mins => n),
       CASE WHEN n > 100 THEN now() - interval '90 days' WHEN n > 40 THEN now() - interval '1 day' END
FROM generate_series(1, 120) AS n

-- name: strategies
INSERT INTO finviz_urls (name, url, top_n, refresh_interval_sec, reprocess_enabled, reprocess_window_seconds,
                         respect_sell_chronology_enabled, sell_chronology_window_seconds, is_active)
VALUES ('Default Strategy', 'https://finviz.com/screener.ashx?v=111&ft=4', 100, 2, false, 300, true, 300, false),
       ('Movers', 'https://elite.finviz.com/export.ashx?v=111&auth=elite-token-4713', 15, 60, true, -1, true, 300, true),
       ('Wide', 'https://finviz.com/screener.ashx?v=111', 9000, 60, NULL, NULL, NULL, NULL, false),
       ('wide ', 'https://finviz.com/screener.ashx?v=152', 20, 60, NULL, NULL, NULL, NULL, false),
       ('Nowhere', NULL, 20, 60, NULL, NULL, NULL, NULL, false)

-- name: actions
INSERT INTO admin_actions (timestamp, action_type, action_name, admin_token, ip_address, user_agent, details, target_resource,
                           success, error_message)
SELECT now() - make_interval(mins => 500 - n), 'engine', 'pause', CASE WHEN n % 50 = 0 THEN $2::text ELSE $1::text END, '192.0.2.1',
       'curl ' || $1::text, jsonb_build_object('token', $1::text, 'url', 'https://a.example/?token=' || $1::text, 'said', $2::text),
       'engine', n % 10 <> 0, CASE WHEN n % 10 = 0 THEN 'Invalid token ' || $2::text END
FROM generate_series(1, 500) AS n
