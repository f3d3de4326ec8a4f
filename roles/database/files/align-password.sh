# Runs inside the database's container. Passwords are asked for over the network only: the socket and loopback are
# trusted. POSTGRES_PASSWORD is read from the container's own environment, so that no process list ever shows it.
set -eu
export PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=5
if refusal=$(psql -h postgres -U postgres -d trading_signals -qtAc 'SELECT 1' 2>&1); then
    echo same
elif printf '%s' "$refusal" | grep -q 'password authentication failed'; then
    psql -U postgres -d trading_signals -q -v ON_ERROR_STOP=1 <<'SQL'
\getenv password POSTGRES_PASSWORD
ALTER ROLE postgres PASSWORD :'password';
SQL
    echo aligned
else
    printf '%s\n' "$refusal" >&2
    exit 1
fi
