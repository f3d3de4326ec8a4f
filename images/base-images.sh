#!/bin/bash
# The three images everything is built on, tagged trading-signal-processor/base-{python,postgres,edge}:current.
#
#   base-images.sh find            one line per image on stdout: ROLE KIND IMAGE [changed]; KIND is registry, distribution
#                                  or missing. Pulls if it may and must; never installs anything.
#   base-images.sh look            the same lines, without doing any of it; KIND is absent where find would ask a registry
#   base-images.sh reuse ROLE      use the one of this recipe again, if it is here; the same line
#   base-images.sh make ROLE…      build them from the distribution's packages, side by side, and import them (as root);
#                                  what one says on stderr begins with its role
#
# That of the edge is always built: from Debian 13's packages, on images of a registry where IMAGES_FROM says so or where
# this is not Debian.
#
# Environment: IMAGES_FROM (auto, registry, distribution), IMAGES_PYTHON, IMAGES_POSTGRES and IMAGES_DEBIAN (upstream names),
# IMAGES_POSTGRES_KIND (what the volume needs, empty if there is none), IMAGES_REGISTRY_TIMEOUT (seconds).
set -euo pipefail
cd "$(dirname "$0")"

PREFIX=trading-signal-processor/base

ROLES="python postgres edge"

upstream() { if [ "$1" = python ]; then echo "${IMAGES_PYTHON:?}"; else echo "${IMAGES_POSTGRES:?}"; fi; }

# Python comes from the release in use; PostgreSQL 15 exists in Debian 12 only, HAProxy 3.0 in Debian 13.
suite() {
    case "$1" in
    postgres) echo bookworm; return ;;
    edge) echo trixie; return ;;
    esac
    . /etc/os-release
    echo "${VERSION_CODENAME:-unknown}"
}

# The tag changes when, and only when, the recipe does.
own_name() {
    local recipe
    if [ "$1" = edge ]; then
        recipe=$({ declare -f make_edge make_edge_here sources; find edge -type f | LC_ALL=C sort | xargs cat; } | sha256sum | cut -c1-12)
    else
        recipe=$({ declare -f make_one sources; [ "$1" = python ] || cat postgres/entrypoint.sh; } | sha256sum | cut -c1-12)
    fi
    echo "$PREFIX-$1:$(suite "$1")-$recipe"
}

identity() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null || true; }

# Kinds in the order in which they may be used for a role.
kinds() {
    if [ "$1" = postgres ] && [ -n "${IMAGES_POSTGRES_KIND:-}" ]; then
        [ "$IMAGES_FROM" = auto ] || [ "$IMAGES_FROM" = "$IMAGES_POSTGRES_KIND" ] || return 0
        echo "$IMAGES_POSTGRES_KIND"
    elif [ "$IMAGES_FROM" = auto ]; then
        echo registry distribution
    else
        echo "$IMAGES_FROM"
    fi
}

name_of() { if [ "$2" = registry ]; then upstream "$1"; else own_name "$1"; fi; }

# A registry that does not even name the image within the time-out is given up; a slow download is not.
pull() {
    local image=$1 progress pid
    progress=$(mktemp)
    docker pull "$image" >"$progress" 2>&1 &
    pid=$!
    for ((i = 0; i < ${IMAGES_REGISTRY_TIMEOUT:?} * 5; i++)); do
        if ! kill -0 "$pid" 2>/dev/null || grep -q 'Pulling from' "$progress"; then break; fi
        sleep 0.2
    done
    if kill -0 "$pid" 2>/dev/null && ! grep -q 'Pulling from' "$progress"; then
        kill "$pid" 2>/dev/null || true
        echo "the registry did not name it within $IMAGES_REGISTRY_TIMEOUT s" >>"$progress"
    fi
    if wait "$pid"; then rm -f "$progress"; return 0; fi
    echo "$image: $(tail -n 1 "$progress")" >&2
    rm -f "$progress"
    return 1
}

use() {
    local role=$1 kind=$2 image=$3 changed=${4:-}
    if [ "$(identity "$image")" != "$(identity "$PREFIX-$role:current")" ]; then
        [ -n "${only_looking:-}" ] || docker tag "$image" "$PREFIX-$role:current"
        changed=changed
    fi
    echo "$role $kind $image $changed"
}

find_one() {
    local role=$1 kind image
    if [ "$role" = edge ]; then
        image=$(own_name edge)
        if [ -n "$(identity "$image")" ]; then use edge distribution "$image"; else echo "edge missing $image"; fi
        return
    fi
    for kind in $(kinds "$role"); do
        image=$(name_of "$role" "$kind")
        if [ -n "$(identity "$image")" ]; then use "$role" "$kind" "$image"; return; fi
    done
    case " $(kinds "$role") " in
    *" registry "*)
        if [ -n "${only_looking:-}" ]; then echo "$role absent $(upstream "$role")"; return; fi
        if [ -z "${registry_is_away:-}" ] && pull "$(upstream "$role")"; then
            use "$role" registry "$(upstream "$role")" changed
            return
        fi
        registry_is_away=yes
        ;;
    esac
    echo "$role missing $(own_name "$role")"
}

# The address of this machine's own mirror for a Debian suite's main component. A suite that is not in use here is on
# the same mirror as the one that is.
mirror_of() {
    . /etc/os-release
    local wanted=$1
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v wanted="$wanted" -v here="${wanted/#*-/${VERSION_CODENAME:-}-}" -v code="${VERSION_CODENAME:-}" '
            $2 == "main" && $1 == wanted {exact = exact ? exact : $3}
            $2 == "main" && ($1 == here || (wanted !~ /-/ && $1 == code)) {near = near ? near : $3}
            END {print exact ? exact : near}'
}

sources() {
    local suite=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg part uri
    for part in "$suite" "$suite-updates" "$suite-security"; do
        uri=$(mirror_of "$part")
        [ -z "$uri" ] || echo "deb [signed-by=$keyring] $uri $part main"
    done
}

make_one() {
    local role=$1 suite image packages
    suite=$(suite "$role")
    image=$(own_name "$role")
    if ! command -v mmdebstrap >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap
    fi
    work=$(mktemp -d) # global: the trap outlives this function
    trap 'rm -rf "$work"' EXIT
    sources "$suite" >"$work/sources.list"
    [ -s "$work/sources.list" ] || { echo "no Debian mirror for $suite in this machine's apt sources" >&2; exit 1; }
    # The mirror may need this machine's proxy settings and its leniency about dates.
    { apt-config dump --format '%F "%v";%n' Acquire | grep -E '::(Proxy|Check-Valid-Until|Check-Date)[ :]' || true; } \
        >"$work/apt.conf"
    local options=(--variant=essential --format=tar --aptopt="$work/apt.conf"
        '--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*'
        '--dpkgopt=path-exclude=/usr/share/info/*' '--dpkgopt=path-exclude=/usr/share/locale/*'
        '--dpkgopt=path-exclude=/usr/share/lintian/*')
    local changes=(--change "LABEL trading-signal-processor.kind=distribution" --change "ENV LANG=C.UTF-8")
    if [ "$role" = python ]; then
        packages=python3,python3-venv,ca-certificates,tzdata
        changes+=(--change 'CMD ["python3"]')
    else
        packages=postgresql-15,tzdata
        # Without its compiler PostgreSQL runs without JIT, which the stack's short statements never use: 120 MB less.
        options+=('--dpkgopt=path-exclude=*/libLLVM-*' '--dpkgopt=path-exclude=/usr/lib/postgresql/15/lib/llvmjit*'
            '--dpkgopt=path-exclude=/usr/lib/postgresql/15/lib/bitcode/*'
            '--essential-hook=mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"'
            '--customize-hook=upload postgres/entrypoint.sh /usr/local/bin/docker-entrypoint.sh'
            '--customize-hook=chmod 0755 "$1/usr/local/bin/docker-entrypoint.sh"')
        changes+=(--change "ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            --change "ENV PGDATA=/var/lib/postgresql/data" --change "STOPSIGNAL SIGINT" --change "EXPOSE 5432"
            --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["postgres"]')
    fi
    mmdebstrap "${options[@]}" --include="$packages" "$suite" "$work/image.tar" "$work/sources.list" >&2
    docker import "${changes[@]}" "$work/image.tar" "$image" >/dev/null
    use "$role" distribution "$image" changed
}

# In a function of its own, so that the other two images keep their recipes, and the database its container.
make_edge() {
    local image packages=haproxy,uacme,socat,openssl,ca-certificates
    image=$(own_name edge)
    if [ "$IMAGES_FROM" = registry ] || ! command -v apt-get >/dev/null || ! grep -q '^ID=debian' /etc/os-release; then
        docker build --quiet --tag "$image" --build-arg "PACKAGES=${packages//,/ }" \
            ${IMAGES_DEBIAN:+--build-arg "DEBIAN=$IMAGES_DEBIAN"} edge >/dev/null
    else
        make_edge_here "$image" "$packages"
    fi
    use edge distribution "$image" changed
}

make_edge_here() {
    local image=$1 packages=$2
    if ! command -v mmdebstrap >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap
    fi
    work=$(mktemp -d) # global: the trap outlives this function
    trap 'rm -rf "$work"' EXIT
    sources trixie >"$work/sources.list"
    [ -s "$work/sources.list" ] || { echo "no Debian mirror for trixie in this machine's apt sources" >&2; exit 1; }
    # The mirror may need this machine's proxy settings and its leniency about dates.
    { apt-config dump --format '%F "%v";%n' Acquire | grep -E '::(Proxy|Check-Valid-Until|Check-Date)[ :]' || true; } \
        >"$work/apt.conf"
    mmdebstrap --variant=essential --format=tar --aptopt="$work/apt.conf" \
        '--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*' \
        '--dpkgopt=path-exclude=/usr/share/info/*' '--dpkgopt=path-exclude=/usr/share/locale/*' \
        '--dpkgopt=path-exclude=/usr/share/lintian/*' \
        '--customize-hook=mkdir -p "$1/etc/edge"' \
        '--customize-hook=copy-in edge/haproxy.cfg edge/answers /etc/edge' \
        '--customize-hook=upload edge/edge.sh /usr/local/bin/edge' \
        '--customize-hook=upload edge/acme.sh /usr/local/bin/acme' \
        '--customize-hook=chown -R 0:0 "$1/etc/edge" && chmod -R u=rwX,go=rX "$1/etc/edge" && chmod 0755 "$1/usr/local/bin/edge" "$1/usr/local/bin/acme"' \
        '--customize-hook=install -d -o 10002 -g 10002 -m 0700 "$1/var/lib/edge"' \
        --include="$packages" trixie "$work/image.tar" "$work/sources.list" >&2
    docker import --change "LABEL trading-signal-processor.kind=distribution" --change "ENV LANG=C.UTF-8" \
        --change "EXPOSE 8080 8443" --change 'CMD ["edge", "start"]' "$work/image.tar" "$image" >/dev/null
}

# Side by side: most of a build waits for a download or for one process. What they share is installed once, before.
make_all() {
    local role failed=0
    local -A builds=()
    if command -v apt-get >/dev/null && ! command -v mmdebstrap >/dev/null && [ $# -gt 1 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap
    fi
    for role in "$@"; do
        { if [ "$role" = edge ]; then make_edge; else make_one "$role"; fi } 2> >(sed -u "s/^/$role: /" >&2) &
        builds[$role]=$!
    done
    for role in "$@"; do wait "${builds[$role]}" || failed=1; done
    return "$failed"
}

case "${1:-}" in
find) for role in $ROLES; do find_one "$role"; done ;;
look) only_looking=yes; for role in $ROLES; do find_one "$role"; done ;;
reuse) image=$(own_name "$2"); [ -z "$(identity "$image")" ] || use "$2" distribution "$image" ;;
make) make_all "${@:2}" ;;
*) sed -n '2,17p' base-images.sh >&2; exit 2 ;;
esac
