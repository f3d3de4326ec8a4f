#!/bin/bash
# Engine, client, buildx and compose from the distribution's packages. Debian 12 has an engine too old to start
# privileged containers everywhere and no compose v2, so there these four packages (and what only they need) come from
# Debian 13, pinned so low that nothing else ever does. The mirror is whichever this machine already uses.
set -euo pipefail
unset TRADING_SIGNAL_PROCESSOR_RUN # an interrupted run ends its processes; packages are better unpacked to the end
export DEBIAN_FRONTEND=noninteractive

# Starting the daemon is start-docker.sh's work; the packages' own attempt fails where nothing manages services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

. /etc/os-release
packages=(docker.io docker-cli docker-compose docker-buildx)

apt-get update -qq
case "$ID-${VERSION_CODENAME:-}" in
debian-bookworm)
    targets() { apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(ORIGIN) $(REPO_URI)' 'Created-By: Packages'; }
    if ! targets | grep -q '^trixie main Debian '; then
        mirror=$(targets | awk '$1 == "bookworm" && $2 == "main" && $3 == "Debian" {print $4; exit}')
        [ -n "$mirror" ] || { echo "no Debian mirror for bookworm in this machine's apt sources" >&2; exit 1; }
        printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' \
            "$mirror" /usr/share/keyrings/debian-archive-keyring.gpg \
            >/etc/apt/sources.list.d/trading-signal-processor-docker.sources
        printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' \
            >/etc/apt/preferences.d/trading-signal-processor-docker
        apt-get update -qq
    fi
    packages=("${packages[@]/%//trixie}")
    ;;
ubuntu-*) packages=(docker.io docker-compose-v2 docker-buildx) ;;
esac
# Packages of another origin that would have to go (docker-ce) are the operator's to remove.
apt-get install -y -qq --no-install-recommends --no-remove ca-certificates iptables "${packages[@]}"
