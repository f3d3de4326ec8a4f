#!/bin/bash
# Entry point of the PostgreSQL image made from Debian's packages: as much of the official image's behaviour as the stack
# uses (POSTGRES_PASSWORD, POSTGRES_DB, PGDATA; trust on the socket and on loopback, passwords from anywhere else).
# A first initialisation that is cut off (power, kill) starts over or is finished: nobody ever finds half a cluster.
set -euo pipefail

export PGDATA="${PGDATA:-/var/lib/postgresql/data}"
[ "${1:-}" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    install -d -o postgres -g postgres -m 3777 /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

making="$PGDATA/.initdb.partial"
made="$PGDATA/.initdb.done"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is needed for the first start: set it in .env}"
    if [ ! -d "$made" ]; then
        rm -rf "$making"
        initdb --pgdata="$making" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
            --auth-local=trust --auth-host=scram-sha-256 --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
        # The same rules as the official image's.
        printf '%s\n' 'local all all trust' 'host all all 127.0.0.1/32 trust' 'host all all ::1/128 trust' \
            'local replication all trust' 'host all all all scram-sha-256' >"$making/pg_hba.conf"
        echo "listen_addresses = '*'" >>"$making/postgresql.conf"
        database="${POSTGRES_DB:-postgres}"
        if [ "$database" != postgres ]; then
            printf 'CREATE DATABASE "%s"\n' "${database//\"/\"\"}" | postgres --single -j -D "$making" postgres >/dev/null
        fi
        sync -f "$making"
        mv "$making" "$made"
    fi
    # PG_VERSION goes last: it is what says "there is a cluster here".
    find "$made" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    mv "$made/PG_VERSION" "$PGDATA/PG_VERSION"
    rmdir "$made"
    sync -f "$PGDATA"
fi
unset POSTGRES_PASSWORD
exec "$@"
