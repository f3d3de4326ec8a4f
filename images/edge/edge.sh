#!/bin/bash
# The edge: starts HAProxy, and gives it the choices of a flow. Installed in the image as `edge`.
#
#   edge start                    run until the container ends (the image's command)
#   edge traffic app|standin      send requests to this one from now on, also after a restart
#   edge choose app|standin       send requests to this one from the next start on; fails where HAProxy could not start
#   edge drain app|standin [S]    wait until it has no request left, S seconds at most (5)
#   edge maintenance on|off       answer 503 instead of asking the application, also after a restart
#   edge show                     traffic=… maintenance=… app=… standin=… (requests that each has)
#   edge certificate              put certificate and key (PEM, from stdin) live, without losing a connection
#   edge redirect                 send pages to https where the certificate is good for TLS_DOMAIN, and only there
#   edge expiry                   when the certificate ends (Unix time); nothing while there is none for TLS_DOMAIN
#   edge challenge TOKEN [ANSWER] answer an ACME server that asks for this token; without an answer no longer
#   edge reload                   read configuration and certificates again, without losing a connection
#
# Exit codes: 0 done, 1 HAProxy does not answer or refused, 2 usage, 3 (drain) requests are left.
set -euo pipefail
umask 077

folder=${EDGE_FOLDER:-/etc/edge}
state=${EDGE_STATE:-/var/lib/edge}
control=${EDGE_CONTROL:-$state/control.sock}
master=${EDGE_MASTER_PORT:-9998}
live=$state/live.pem
placeholder="no certificate yet"
TLS_DOMAIN=${TLS_DOMAIN:-}
export TLS_DOMAIN=${TLS_DOMAIN,,}
export TRUSTED_PROXIES=${TRUSTED_PROXIES:-}

usage() { sed -n '2,16p' "${BASH_SOURCE[0]}" >&2; exit 2; }

fail() { echo "edge: $*" >&2; exit 1; }

is_running() { socat -u OPEN:/dev/null "UNIX-CONNECT:$control" 2>/dev/null; }

# What HAProxy's worker answers to one line of commands. Its socket is in the volume: the service acme asks it, too.
ask() {
    is_running || fail "HAProxy does not answer"
    # A worker that a reload replaces may cut the connection: only silence is a failure.
    printf '%s\n' "$1" | timeout 10 socat -t 10 - "UNIX-CONNECT:$control" 2>/dev/null || [ $? -ne 124 ] ||
        fail "HAProxy does not answer"
}

# What HAProxy's master answers to one command. It does not close the connection; an empty line ends the answer. When a worker
# has started, the master executes itself again and does not listen for a moment.
ask_master() {
    local line tries
    for ((tries = 0; ; tries++)); do
        if { exec 3<>"/dev/tcp/127.0.0.1/$master"; } 2>/dev/null; then break; fi
        if ((tries >= 50)) || ! is_running; then fail "HAProxy does not answer"; fi
        sleep 0.1
    done
    printf '%s\n' "$1" >&3
    # A reload cuts the connection.
    while read -r -t 10 line <&3 2>/dev/null && [ -n "$line" ]; do echo "$line"; done
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
    content=$(printf 'global'; printf '\n    setenv EDGE_%s %s' TRAFFIC "$1" MAINTENANCE "$2" CERTIFIED "$3")
    [ "$content" != "$(cat "$state/state.cfg" 2>/dev/null)" ] || return 0
    printf '%s\n' "$content" >"$state/state.cfg.partial"
    sync "$state/state.cfg.partial"
    mv "$state/state.cfg.partial" "$state/state.cfg"
    sync "$state"
}

traffic() { stored TRAFFIC app "app standin"; }

maintenance() { stored MAINTENANCE off "on off"; }

certified() { stored CERTIFIED off "on off"; }

expiry() {
    if openssl x509 -noout -subject -in "$live" | grep -q "$placeholder"; then return 0; fi
    if [ -n "$TLS_DOMAIN" ] && ! openssl x509 -noout -checkhost "$TLS_DOMAIN" -in "$live" | grep -q 'does match'; then
        return 0
    fi
    date -d "$(openssl x509 -noout -enddate -in "$live" | cut -d= -f2)" +%s
}

# Whether browsers that ask for TLS_DOMAIN have reason to accept the certificate: `on` or `off`.
judge_certificate() {
    local end
    end=$(expiry 2>/dev/null) || true
    if [ -n "$TLS_DOMAIN" ] && ((${end:-0} > $(date +%s))); then echo on; else echo off; fi
}

# Requests that the app or the stand-in has, waiting for a connection or for its answer. WebSockets count.
requests() {
    ask "show stat -1 4 -1" |
        awk -F, -v name="$1" '($1 == "app" || $1 == "held") && $2 == name {sum += $3 + $5} END {print sum + 0}'
}

# Whether a server takes requests, in both backends: its sixth member is 2 then, and the seventh has no bit of maintenance.
is_ready() {
    ask "show servers state" |
        awk -v name="$1" '$4 == name && $6 == 2 && $7 % 4 == 0 && int($7 / 32) == 0 {ready++} END {exit ready != 2}'
}

# The process ids of workers that a reload has replaced, as long as they answer.
old_workers() { ask_master "show proc" | awk '/^# old workers/ {old = 1; next} /^#/ {old = 0} old {print $1}'; }

make_placeholder() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$placeholder" \
        -keyout - -out - >"$live.partial" 2>/dev/null
    mv "$live.partial" "$live"
    note_accepted
}

# HAProxy accepts this certificate: a start need not test that again, which takes time.
note_accepted() { sha256sum <"$live" >"$live.accepted"; }

is_accepted() { [ "$(cat "$live.accepted" 2>/dev/null)" = "$(sha256sum <"$live")" ]; }

# The addresses of TRUSTED_PROXIES with blanks between, as haproxy.cfg wants them; `*` is every address.
trusted() {
    local word words found=""
    read -ra words <<<"${TRUSTED_PROXIES//,/ }"
    for word in "${words[@]}"; do
        [ "$word" != "*" ] || word="0.0.0.0/0 ::/0"
        found+="${found:+ }$word"
    done
    echo "$found"
}

files=(-f "$state/state.cfg" -f "$folder/haproxy.cfg")

# Make ready all that HAProxy reads.
prepare() {
    mkdir -p "$state"
    [ -s "$live" ] || make_placeholder
    # Fails open: what cannot be read sends requests to the app.
    store "$(traffic)" "$(maintenance)" "$(judge_certificate)"
    if [ "${TLS_PORT:-443}" != 443 ]; then export EDGE_TLS_SUFFIX=":$TLS_PORT"; fi
    # Fails closed for proxies, open for alerts: a word that is no address ends the trust in all proxies, and not the service.
    TRUSTED_PROXIES=$(trusted)
    if [ -n "$TRUSTED_PROXIES" ] && ! haproxy -c -q "${files[@]}" >/dev/null 2>&1; then
        if TRUSTED_PROXIES="" haproxy -c -q "${files[@]}" >/dev/null 2>&1; then
            echo "edge: TRUSTED_PROXIES must be addresses and networks: no proxy is trusted" >&2
            TRUSTED_PROXIES=""
        fi
    fi
    # Fails open: without a certificate that HAProxy accepts port 80 is served all the same.
    if ! is_accepted && ! haproxy -c -q "${files[@]}" >/dev/null 2>&1; then
        mv "$live" "$live.refused"
        make_placeholder
        if haproxy -c -q "${files[@]}" >/dev/null 2>&1; then
            echo "edge: HAProxy refused the certificate: a placeholder is served until the next one" >&2
            store "$(traffic)" "$(maintenance)" off
        else
            mv "$live.refused" "$live" # the certificate was not the reason
        fi
    fi
}

start() {
    prepare
    exec haproxy -W -db -S "ipv4@127.0.0.1:$master" "${files[@]}"
}

# Whether HAProxy could start here. Its own check of the configuration does not look at the limit of open files: a connection needs
# two, for client and server, and HAProxy does not start without.
check() {
    local said limit needed
    prepare
    said=$(haproxy -c "${files[@]}" 2>&1) || fail "HAProxy cannot start: $(grep -m 1 ALERT <<<"$said" || echo "$said")"
    limit=$(ulimit -Hn)
    needed=$(($(awk '$1 == "maxconn" {print $2; exit}' "$folder/haproxy.cfg") * 2 + 100))
    [ "$limit" = unlimited ] || ((limit >= needed)) ||
        fail "HAProxy cannot start: a container may open $limit files here, and it needs $needed (ulimit nofile)"
}

# The file goes first: whatever ends this process, a restart sends requests where the flow wanted them. Ready before
# maintenance, so that one server takes requests at every moment.
send_to() {
    local to=$1 other=standin backend tries old said=""
    [ "$to" = app ] || other=app
    store "$to" "$(maintenance)" "$(certified)"
    for backend in held app; do
        said+=$(ask "set server $backend/$to state ready; set server $backend/$other state maint")
    done
    is_ready "$to" || fail "HAProxy does not send to $to: $said"
    if is_ready "$other"; then fail "HAProxy still sends to $other: $said"; fi
    # A worker that a reload has replaced, and which takes no commands, keeps its connections for at most 5 s.
    for ((tries = 0; tries < 120; tries++)); do
        old=$(old_workers) || fail "which workers are left is unknown"
        [ -n "$old" ] || return 0
        sleep 0.1
    done
    fail "a worker from before a reload still sends to $other"
}

# Nothing makes way for an edge that could not start.
choose() {
    is_running || check
    store "$1" "$(maintenance)" "$(certified)"
}

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
    store "$(traffic)" "$1" "$(certified)"
    ask "experimental-mode on; set var proc.maintenance str($1)" >/dev/null
    ask "get var proc.maintenance" | grep -q "<$1>" || fail "HAProxy does not have maintenance $1"
}

# The file goes first here, too. The key passes through no argument, which others could see.
certificate() {
    mkdir -p "$state"
    rm -f "$live.before"
    grep -v '^[[:space:]]*$' >"$live.partial" || fail "there is no certificate"
    check_pair "$live.partial"
    if ! cmp -s "$live.partial" "$live"; then
        if [ -e "$live" ]; then cp "$live" "$live.before"; fi
        sync "$live.partial"
        mv "$live.partial" "$live"
        sync "$state"
    fi
    if ! (put_live); then
        if [ -e "$live.before" ]; then mv "$live.before" "$live"; fi
        exit 1
    fi
    rm -f "$live.partial" "$live.before"
    redirect
}

check_pair() {
    local public
    public=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) || fail "there is no certificate in PEM"
    [ "$public" = "$(openssl pkey -in "$1" -pubout 2>/dev/null)" ] || fail "the key (PEM) is missing, or is another certificate's"
}

# What HAProxy has is compared, not what the file was: the process that wrote it may have ended before HAProxy read it.
put_live() {
    local said wanted
    is_running || return 0 # it counts from HAProxy's start
    wanted=$(openssl x509 -in "$live" -noout -fingerprint -sha1 | cut -d= -f2 | tr -d :)
    if ask "show ssl cert $live" | grep -qi "^SHA1 FingerPrint: $wanted$"; then
        is_accepted || note_accepted
        return 0
    fi
    said=$(ask "set ssl cert $live <<"$'\n'"$(cat "$live")"$'\n')
    said+=$(ask "commit ssl cert $live")
    case $said in
    *Success!*) note_accepted ;;
    *)
        ask "abort ssl cert $live" >/dev/null
        fail "HAProxy refused the certificate: $said"
        ;;
    esac
}

# Set again each time, so that it is right after a restart or an interruption, too.
redirect() {
    local now
    now=$(judge_certificate)
    [ "$now" = "$(certified)" ] || store "$(traffic)" "$(maintenance)" "$now"
    is_running || return 0
    ask "experimental-mode on; set var proc.certified str($now)" >/dev/null
}

# Both words come from an ACME server, and end in a line of commands.
challenge() {
    local token=$1 answer=$2 said
    if [[ ! $token =~ ^[A-Za-z0-9_-]+$ || ! $answer =~ ^[A-Za-z0-9_.-]*$ ]]; then fail "that is no token of ACME"; fi
    if [ -n "$answer" ]; then
        said=$(ask "add map virt@acme $token $answer")
    else
        said=$(ask "del map virt@acme $token")
    fi
    [[ ! $said =~ [^[:space:]] ]] || fail "HAProxy refused the challenge: $said"
}

reload() {
    local said
    said=$(ask_master reload)
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
"redirect ") alone redirect ;;
"expiry ") expiry ;;
"challenge "?*) challenge "$2" "${3:-}" ;;
"reload ") alone reload ;;
*) usage ;;
esac
