#!/bin/sh
# Gets promtool and prometheus for the tests of alerts and of the dashboard, from the distribution: Debian's package is
# unpacked into target/tools. Nothing is installed, no service is started, and root is needed only for fresh package lists.
# Where there is no such package it says so, and the tests that need it are skipped.
set -eu
tools="$(cd "$(dirname "$0")/../.." && pwd)/target/tools"
PATH="$PATH:$tools/usr/bin"

skip() {
    echo "tools: $1; the tests that need Prometheus are skipped. Put prometheus and promtool into PATH to run them."
    exit 0
}

if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    echo "tools: $(command -v promtool), $(command -v prometheus)"
    exit 0
fi
for tool in apt-get dpkg-deb; do
    command -v $tool >/dev/null || skip "no Debian here, so no package to take them from"
done
mkdir -p "$tools"
cd "$tools"
[ "$(id -u)" != 0 ] || apt-get update -qq || skip "apt-get update failed (is there a network?)"
echo "tools: unpacking Debian's package prometheus into $tools"
apt-get download -qq prometheus 2>&1 || skip "the package prometheus can't be downloaded (as root: apt-get update)"
for package in prometheus_*.deb; do
    dpkg-deb --extract "$package" . || skip "$package can't be unpacked"
    rm "$package"
done
promtool --version 2>&1 | head -n 1 || skip "promtool doesn't run"
