#!/bin/sh
# Installs the Debian packages that the tests need beyond npm's (see test/needs.ts). Does nothing when all are there.
set -eu

packages="acl attr bsdutils btrfs-progs busybox-static debootstrap docker.io e2fsprogs faketime git iproute2 iptables libcap2-bin podman postgresql procps python3 rsync sqlite3 strace systemd systemd-container util-linux xfsprogs"

missing=""
for package in $packages; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "test/setup-debian.sh: run me as root to install:$missing" >&2
  exit 1
fi

echo "installing Debian packages:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # the names are separate words
apt-get install -y -qq --no-install-recommends $missing >/dev/null </dev/null
