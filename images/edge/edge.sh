#!/bin/bash
# The edge: starts HAProxy, and tells it what a flow decides. Installed in the image as `edge`.
#
#   edge start                    run until the container ends (the image's command)
#   edge traffic app|standin      send requests to this one from now on, also after a restart
#   edge choose app|standin       send requests to this one from the next start on
#   edge drain app|standin [S]    wait until it has no request left, S seconds at most (5)
#   edge maintenance on|off       answer 503 instead of asking the application, also after a restart
#   edge show                     traffic=… maintenance=… app=… standin=… (requests that each has)
#   edge certificate              put certificate and key (PEM, from stdin) live, without losing a connection
#   edge reload                   read configuration and certificates again, without losing a connection
#
# Exit codes: 0 done, 1 HAProxy does not answer or refused, 2 usage, 3 (drain) requests are left.
set -euo pipefail
umask 077

folder=${EDGE_FOLDER:-/etc/edge}
state=${EDGE_STATE:-/var/lib/edge}
control=${EDGE_CONTROL_PORT:-9999}
master=${EDGE_MASTER_PORT:-9998}

usage() { sed -n '2,13p' "${BASH_SOURCE[0]}" >&2; exit 2; }

fail() { echo "edge: $*" >&2; exit 1; }

# What HAProxy answers to one line of commands, at the port of its worker or of its master, until it closes the connection.
ask() {
    local port=$1 line=$2
    { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || fail "HAProxy does not answer"
    printf '%s\n' "$line" >&3
    # A master that reads its configuration again cuts the connection: only silence is a failure.
    timeout 10 cat <&3 2>/dev/null || [ $? -ne 124 ] || fail "HAProxy does not answer"
    exec 3>&-
}

# What HAProxy's master answers to one command. It does not close the connection; an empty line ends the answer.
ask_master() {
    local line
    { exec 3<>"/dev/tcp/127.0.0.1/$master"; } 2>/dev/null || fail "HAProxy does not answer"
    printf '%s\n' "$1" >&3
    while read -r -t 10 line <&3 && [ -n "$line" ]; do echo "$line"; done
    exec 3>&-
}

# A value of state.cfg; the default where there is none, or where it is not one of those allowed.
stored() {
    local name=$1 default=$2 allowed=$3 value
    value=$(sed -n "s/^ *setenv EDGE_$name //p" "$state/state.cfg" 2>/dev/null || true)
    case " $allowed " in *" $value "*) echo "$value" ;; *) echo "$default" ;; esac
}

# Replace state.cfg as a whole, on the disk before this returns. Nothing is written where it says so already: the disk may be
# slow, and a start has to be fast.
store() {
    local content
    content=$(printf 'global\n    setenv EDGE_TRAFFIC %s\n    setenv EDGE_MAINTENANCE %s\n' "$1" "$2")
    [ "$content" != "$(cat "$state/state.cfg" 2>/dev/null)" ] || return 0
    printf '%s\n' "$content" >"$state/state.cfg.partial"
    sync "$state/state.cfg.partial"
    mv "$state/state.cfg.partial" "$state/state.cfg"
    sync "$state"
}

traffic() { stored TRAFFIC app "app standin"; }

maintenance() { stored MAINTENANCE off "on off"; }

# Requests that the app or the stand-in has, waiting for a connection or for its answer. WebSockets count.
requests() {
    ask "$control" "show stat -1 4 -1" |
        awk -F, -v name="$1" '($1 == "app" || $1 == "held") && $2 == name {sum += $3 + $5} END {print sum + 0}'
}

# Whether a server takes requests, in both backends: its sixth member is 2 then, and the seventh has no bit of maintenance.
is_ready() {
    ask "$control" "show servers state" |
        awk -v name="$1" '$4 == name && $6 == 2 && $7 % 4 == 0 && int($7 / 32) == 0 {ready++} END {exit ready != 2}'
}

# The process ids of workers that a reload has replaced, as long as they answer.
old_workers() { ask_master "show proc" | awk '/^# old workers/ {old = 1; next} /^#/ {old = 0} old {print $1}'; }

start() {
    mkdir -p "$state"
    # Fails open: what cannot be read sends requests to the app.
    store "$(traffic)" "$(maintenance)"
    if [ ! -s "$state/live.pem" ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
            -subj "/CN=no certificate yet" -keyout - -out - >"$state/live.pem.partial" 2>/dev/null
        mv "$state/live.pem.partial" "$state/live.pem"
    fi
    exec haproxy -W -db -S "ipv4@127.0.0.1:$master" -f "$state/state.cfg" -f "$folder/haproxy.cfg"
}

# The file goes first: whatever ends this process, a restart sends requests where the flow wanted them. Ready before
# maintenance, so that one server takes requests at every moment.
send_to() {
    local to=$1 other=standin backend tries said=""
    [ "$to" = app ] || other=app
    store "$to" "$(maintenance)"
    for backend in held app; do
        said+=$(ask "$control" "set server $backend/$to state ready; set server $backend/$other state maint")
    done
    is_ready "$to" || fail "HAProxy does not send to $to: $said"
    if is_ready "$other"; then fail "HAProxy still sends to $other: $said"; fi
    # A worker that a reload has replaced, and which takes no commands, keeps its connections for at most 5 s.
    for ((tries = 0; tries < 120; tries++)); do
        [ -n "$(old_workers)" ] || return 0
        sleep 0.1
    done
    fail "a worker from before a reload still sends to $other"
}

choose() { store "$1" "$(maintenance)"; }

drain() {
    local name=$1 seconds=$2 left tries
    for ((tries = 0; ; tries++)); do
        left=$(requests "$name")
        [ "$left" != 0 ] || return 0
        if ((tries >= seconds * 10)); then break; fi
        sleep 0.1
    done
    echo "edge: $name still has $left requests" >&2
    exit 3
}

maintain() {
    store "$(traffic)" "$1"
    ask "$control" "experimental-mode on; set var proc.maintenance str($1)" >/dev/null
    ask "$control" "get var proc.maintenance" | grep -q "<$1>" || fail "HAProxy does not have maintenance $1"
}

# The file goes first here, too. The key passes through no argument, which others could see.
certificate() {
    mkdir -p "$state"
    local file=$state/live.pem said public
    grep -v '^[[:space:]]*$' >"$file.partial" || fail "there is no certificate on stdin"
    public=$(openssl x509 -in "$file.partial" -noout -pubkey 2>/dev/null) || fail "there is no certificate (PEM) on stdin"
    [ "$public" = "$(openssl pkey -in "$file.partial" -pubout 2>/dev/null)" ] ||
        fail "the certificate's key is not on stdin (PEM, after the certificate)"
    sync "$file.partial"
    mv "$file.partial" "$file"
    sync "$state"
    # Where HAProxy does not run it counts from its start.
    { : 3<>"/dev/tcp/127.0.0.1/$control"; } 2>/dev/null || return 0
    said=$(ask "$control" "set ssl cert $file <<"$'\n'"$(cat "$file")"$'\n')
    said+=$(ask "$control" "commit ssl cert $file")
    case $said in *Success!*) ;; *) fail "the certificate was not taken: $said" ;; esac
}

reload() {
    local said
    said=$(ask "$master" reload)
    case $said in Success=1*) ;; *) fail "the configuration was not taken: $said" ;; esac
}

show() {
    local app standin
    app=$(requests app)
    standin=$(requests standin)
    echo "traffic=$(traffic) maintenance=$(maintenance) app=$app standin=$standin"
}

# One at a time: what two of them would store belongs together.
alone() {
    exec 9<"$state"
    flock 9
    "$@"
}

case "${1:-} ${2:-}" in
"start ") start ;;
"traffic app" | "traffic standin") alone send_to "$2" ;;
"choose app" | "choose standin") alone choose "$2" ;;
"drain app" | "drain standin") drain "$2" "${3:-5}" ;;
"maintenance on" | "maintenance off") alone maintain "$2" ;;
"show ") show ;;
"certificate ") alone certificate ;;
"reload ") alone reload ;;
*) usage ;;
esac
