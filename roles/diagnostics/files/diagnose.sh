#!/bin/bash
# What somebody who knows the stack looks at first, as text; reads and nothing else. Every command may
# fail: a broken machine is when this is needed.
# usage: diagnose.sh PROJECT APP DATABASE EDGE STANDIN ACME VOLUME FOLDER LOG_LINES PORT…
project=$1 app=$2 database=$3 edge=$4 standin=$5 acme=$6 volume=$7 folder=$8 lines=$9
shift 9
exec 2>&1

section() { printf '\n== %s\n' "$*"; }

section containers
docker ps --all --filter "label=com.docker.compose.project=$project" \
    --format 'table {{.Names}}\t{{.Status}}\t{{.Image}}\t{{.Ports}}'
for container in "$app" "$standin" "$edge" "$acme" "$database"; do
    docker container inspect --format '{{.Name}}: exit code {{.State.ExitCode}}, {{.RestartCount}} restarts, out of memory: {{.State.OOMKilled}}{{with .State.Error}}, {{.}}{{end}}' \
        "$container" | sed 's|^/||'
done

section traffic
docker exec "$edge" edge show

section certificate
docker exec "$acme" cat /var/lib/certificate/state.json

for container in "$app" "$standin" "$edge" "$acme" "$database"; do
    docker container inspect "$container" >/dev/null 2>&1 || continue
    section "log of $container, last $lines lines"
    docker logs --tail "$lines" "$container"
done

section volume
docker volume inspect --format '{{.Name}}: made {{.CreatedAt}}{{range $name, $value := .Labels}}
  {{$name}}={{$value}}{{end}}' "$volume"
docker exec "$database" psql -U postgres -d trading_signals -X -qAt -F ': ' -c \
    "SELECT datname, pg_size_pretty(pg_database_size(oid)) FROM pg_database WHERE datname LIKE 'trading_signals%' ORDER BY 1" \
    -c "SELECT 'connections', count(*) FROM pg_stat_activity WHERE datname = 'trading_signals'"

section network
docker network inspect --format '{{.Name}}: {{.Driver}}{{range .IPAM.Config}}, {{.Subnet}}{{end}}{{range .Containers}}
  {{.Name}} {{.IPv4Address}}{{end}}' "${project}_default"

section disk
df -h "$folder" "$(docker info --format '{{.DockerRootDir}}')"
du -sh "$folder/backups" "$folder/logs" "$folder/data"

section ports
for port in "$@"; do
    holder=$(ss -Hltnp "sport = :$port" | awk '{print $4, $6}' | paste -sd ' ')
    printf '%s: %s\n' "$port" "${holder:-nobody listens}"
done
exit 0
