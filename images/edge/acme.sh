#!/bin/bash
# Keeps the edge's certificate current. Installed in the edge's image as `acme`; the service of that name runs it.
#
#   acme run      until the container ends: keep what TLS_CERT_FILE and TLS_KEY_FILE hold live, or else obtain and renew a
#                 certificate for TLS_DOMAIN from the ACME server TLS_ACME_URL; say in a file how that goes
#   acme follow   put what TLS_CERT_FILE and TLS_KEY_FILE hold live once, also for an edge that does not run yet
#   acme renew    ask the ACME server once, if the certificate is due; why it failed is on stdout
#   acme begin|done|failed TYPE NAME TOKEN ANSWER    a step of a challenge, as uacme says it
#
# Exit codes: 0 done, 1 (renew) not due, 2 usage or failed. `run` and `follow` are root, to read files that only their owner can
# read; all else is done as the edge's user.
set -uo pipefail
umask 077

state=${EDGE_STATE:-/var/lib/edge}
report=${ACME_REPORT:-/var/lib/certificate/state.json} # app/ops/certificate.py reads it
user=${ACME_USER-10002}
round=${ACME_ROUND_SECONDS:-20}
pause=${ACME_PAUSE_SECONDS:-21600} # the server's own advice on renewal is asked for so often
# Let's Encrypt accepts five failures an hour.
read -ra retries <<<"${ACME_RETRY_SECONDS:-60 300 900 3600}"
domain=${TLS_DOMAIN:-}
domain=${domain,,}
url=${TLS_ACME_URL:-https://acme-v02.api.letsencrypt.org/directory}
folder=$state/acme/$(sha256sum <<<"$url" | cut -c1-12)
certificate=$folder/$domain/cert.pem
key=$folder/private/$domain/key.pem

usage() { sed -n '2,9p' "${BASH_SOURCE[0]}" >&2; exit 2; }

as_edge() { if [ -n "$user" ]; then setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"; else "$@"; fi; }

seconds_of() { date -d "$(openssl x509 -noout "-$1" -in "$2" | cut -d= -f2)" +%s; }

# One line of printable ASCII that needs no escapes in JSON: the words may be a stranger's.
plain() { tr '\n\t"\\' "  ''" | LC_ALL=C tr -cd '[:print:]' | cut -c1-300 | sed 's/^ *//; s/ *$//'; }

# The server's own reason, or else the last thing that went wrong.
reason_of() {
    local said=$1 found
    found=$(sed -n 's/^ *"detail": "\(.*\)",\{0,1\}$/\1/p' <<<"$said" | tail -n 1)
    [ -n "$found" ] || found=$(grep 'failed: ' <<<"$said" | tail -n 1)
    [ -n "$found" ] || found=$(tail -n 1 <<<"$said")
    sed 's/^uacme: //; s/^[a-z_]*: //' <<<"$found" | plain
}

client() {
    timeout 300 uacme --verbose --confdir "$folder" --acme-url "$url" --type EC --hook "$(command -v acme)" "$@" 2>&1
}

# The account of this server: made once, and changed with TLS_EMAIL.
register() {
    local contact="${TLS_EMAIL:-}" words=()
    [ -z "$contact" ] || words=("$contact")
    if [ ! -e "$folder/contact" ]; then
        if ! said=$(client --yes new "${words[@]}") && ! grep -q 'Account already exists' <<<"$said"; then return 1; fi
    fi
    if [ "$(cat "$folder/contact" 2>/dev/null)" != "$contact" ]; then
        said=$(client update "${words[@]}") || return 1
    fi
    printf '%s' "$contact" >"$folder/contact"
}

renew() {
    local said days=30 code
    mkdir -p "$folder"
    # The host's trusted certificates, if it keeps them where Debian does: a company's own ACME server may be among them.
    if [ -r "${ACME_TRUSTED:-/etc/ssl/host/ca-certificates.crt}" ]; then
        export UACME_CAINFO=${ACME_TRUSTED:-/etc/ssl/host/ca-certificates.crt}
    fi
    if ! register; then
        reason_of "$said"
        return 2
    fi
    # Where the server gives no advice a third of the lifetime is left for the renewal.
    if [ -s "$certificate" ]; then
        days=$((($(seconds_of enddate "$certificate") - $(seconds_of startdate "$certificate")) / 259200))
        ((days > 0)) || days=1
    fi
    said=$(client --days "$days" issue "$domain")
    code=$?
    case $code in
    0 | 1) return $code ;;
    esac
    # Whatever the server has forgotten: the next attempt registers the account again.
    rm -f "$folder/contact"
    reason_of "$said"
    return 2
}

# Certificate and key, put live where they are not; why not is in `problem`.
follow() {
    local said file
    for file in "$1" "$2"; do
        if [ ! -r "$file" ]; then
            problem="$file cannot be read"
            return
        fi
    done
    said=$({ cat "$1" && echo && cat "$2"; } | as_edge edge certificate 2>&1 >/dev/null) ||
        problem="$1 with $2: ${said#edge: }"
}

follow_once() {
    local problem=""
    follow "${TLS_CERT_FILE:-}" "${TLS_KEY_FILE:-}"
    if [ -n "$problem" ]; then
        echo "acme: $problem" >&2
        exit 2
    fi
}

# What the application shows (docs/architecture.md); `not_after` is null while there is no certificate for TLS_DOMAIN.
write_report() {
    local not_after now line
    now=$(date +%s)
    problem=$(plain <<<"$problem")
    not_after=$(as_edge edge expiry 2>/dev/null)
    if [ -z "$problem" ]; then failing_since=null; elif [ "$failing_since" = null ]; then failing_since=$now; fi
    printf '{"checked_at": %s, "domain": "%s", "not_after": %s, "problem": "%s", "failing_since": %s}\n' \
        "$now" "$(plain <<<"$domain")" "${not_after:-null}" "$problem" "$failing_since" >"$report.partial" &&
        chmod 0644 "$report.partial" && mv "$report.partial" "$report"
    if [ -n "$problem" ]; then
        line=$problem
    elif [ -n "$not_after" ]; then
        line="the certificate${domain:+ of $domain} ends on $(date -u -d "@$not_after" +%F)"
    else
        line="there is no certificate${domain:+ of $domain} yet"
    fi
    if [ "$line" != "$logged" ]; then echo "acme: $line"; fi
    logged=$line
}

# Seconds are counted in rounds: a clock that is set changes nothing.
run() {
    local problem logged="" failing_since refusal="" left=0 failures=0
    failing_since=$(sed -n 's/.*"failing_since": \([0-9]\{1,\}\).*/\1/p' "$report" 2>/dev/null)
    failing_since=${failing_since:-null}
    while true; do
        problem=""
        if [ -n "${TLS_CERT_FILE:-}" ]; then
            follow "$TLS_CERT_FILE" "${TLS_KEY_FILE:-}"
        elif [[ ! $domain =~ ^[a-z0-9.-]+$ ]]; then
            problem="TLS_DOMAIN is not a valid host name"
        else
            if ((left <= 0)) && ! as_edge edge show >/dev/null 2>&1; then
                problem="the edge does not answer"
            elif ((left <= 0)); then
                refusal=$(as_edge acme renew)
                if [ $? -lt 2 ]; then
                    failures=0
                    left=$pause
                else
                    left=${retries[failures < ${#retries[@]} ? failures : -1]}
                    failures=$((failures + 1))
                fi
            fi
            if [ -s "$certificate" ]; then follow "$certificate" "$key"; fi
            problem=${problem:-$refusal}
        fi
        as_edge edge redirect 2>/dev/null
        write_report
        sleep "$round"
        left=$((left - round))
    done
}

# uacme offers every kind of challenge: only this one can be answered here.
challenge() {
    [ "$2" = http-01 ] || exit 1
    if [ "$1" = begin ]; then edge challenge "$4" "$5"; else edge challenge "$4"; fi
}

case "${1:-}/$#" in
run/1) run ;;
follow/1) follow_once ;;
renew/1) renew ;;
begin/5 | done/5 | failed/5) challenge "$@" ;;
*) usage ;;
esac
