-- Sessions ended by signing out, until their cookies would have expired, and named tokens that were removed. Used by repository.py only.

-- name: end_sessions
-- $1 sessions, $2 for how many seconds they are kept.
INSERT INTO ended_sessions (session, expires_at)
SELECT session, clock_timestamp() + make_interval(secs => $2) FROM unnest($1::text[]) AS session
ON CONFLICT (session) DO NOTHING

-- name: read_ended
-- Ended sessions and revoked tokens, in one answer: it is asked for once a second.
SELECT session, NULL AS sha256 FROM ended_sessions WHERE expires_at > clock_timestamp()
UNION ALL
SELECT NULL, sha256 FROM revoked_tokens

-- name: delete_expired_sessions
DELETE FROM ended_sessions WHERE expires_at < clock_timestamp()
