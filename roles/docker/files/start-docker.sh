#!/bin/bash
# Start the daemon by the service manager, or detached in a session of its own where there is none (containers, WSL
# without systemd). The packages' init script is not used: it gives up where `ulimit` may not be raised.
set -euo pipefail
unset TRADING_SIGNAL_PROCESSOR_RUN # the daemon is no part of the run: it must outlive one that fails
timeout_seconds=$1
again=${2:-} # `again`: end the daemon that runs first
log=/var/log/dockerd.log

if [ -d /run/systemd/system ]; then
    systemctl enable --now docker
    [ -z "$again" ] || systemctl restart docker
else
    if [ -n "$again" ] && [ -s /run/docker.pid ]; then
        old=$(cat /run/docker.pid)
        kill "$old"
        timeout "$timeout_seconds" tail --pid="$old" -f /dev/null
    fi
    setsid dockerd >>"$log" 2>&1 </dev/null &
fi
for ((i = 0; i < timeout_seconds * 5; i++)); do
    if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then exit 0; fi
    sleep 0.2
done
if [ -d /run/systemd/system ]; then journalctl -u docker -n 3 --no-pager -o cat >&2; else tail -n 3 "$log" >&2; fi
exit 1
