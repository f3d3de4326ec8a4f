-- On the schema of 2026-11-27: a signal of each status and type, twice, with events, and an ended or open attempt where it was
-- sent; and a row in every other table.
CREATE TEMP TABLE made AS
SELECT gen_random_uuid() AS id, status, type, 'T' || row_number() OVER () AS ticker, twin
FROM unnest('{received,approved,rejected,forwarding,forwarded,failed,expired}'::text[]) AS status,
     unnest('{buy,sell,manual_sell,position_close,sell_all}'::text[]) AS type, generate_series(1, 2) AS twin;
INSERT INTO signals (id, status, type, ticker, expires_at, reason, price, body, round, attempts, claim_id, lease_until,
                     imported_at)
SELECT id, status, type, ticker, now() + interval '1 day', 'why', 1.10, convert_to(ticker, 'UTF8'), twin, twin,
       CASE status WHEN 'forwarding' THEN id END, CASE status WHEN 'forwarding' THEN now() END,
       CASE WHEN twin = 2 AND status IN ('rejected', 'forwarded', 'failed', 'expired') THEN now() END
FROM made;
INSERT INTO signals (id, status, ticker, expires_at, body) VALUES (gen_random_uuid(), 'rejected', 'NONE', now(), '');
INSERT INTO signal_events (signal_id, status, reason, detail) SELECT id, status, 'why', '{"rank": 1}' FROM made;
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, outcome, error)
SELECT id, twin, twin, 'd', id::text, id, CASE status WHEN 'forwarding' THEN NULL ELSE now() - interval '1 s' END,
       CASE status WHEN 'forwarded' THEN 'delivered'
                   WHEN 'failed' THEN ('{refused,unknown}'::text[])[twin]
                   WHEN 'approved' THEN 'not_taken' END, 'HTTP 503'
FROM made WHERE status IN ('approved', 'forwarding', 'forwarded', 'failed');
INSERT INTO positions (ticker, status, buys) SELECT ticker, ('{open,closed}'::text[])[twin], twin FROM made;
INSERT INTO destinations (destination, held_until, reason, probe_at) VALUES ('d', now(), 'HTTP 429', now());
INSERT INTO intake_keys VALUES ('k', gen_random_uuid(), 'd', now());
INSERT INTO refused_posts (at, status, reason, client, size, head) VALUES (now(), 422, 'why', '::1', 1, 'x');
INSERT INTO top_n_lists (strategy, source, tickers) VALUES ('mine', 'list', '{T1,T2}');
INSERT INTO screener_refreshes (strategy, error) VALUES ('mine', 'HTTP 500');
INSERT INTO paper_deliveries (webhook_id, headers, body) VALUES ('w', '{}', 'x');
INSERT INTO configuration (revision, documents) VALUES (7, '{"system_config.json": {"delivery_paused": true}}');
INSERT INTO actions (session, origin, action, result) VALUES ('token', '::1', 'delivery.pause', 'done');
