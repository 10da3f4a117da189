#!/bin/sh
# Gets what the tests of the page and of the calendar need: Chromium from Debian (installed, so as root alone), and three
# libraries from npm, unpacked into target/tools/page: axe-core, which finds what people with impairments can't use;
# ical.js, which reads calendars in Thunderbird; FullCalendar, which draws them.
# Where one can't be had it says so, and the tests that need it are skipped.
set -eu
tools="$(cd "$(dirname "$0")/../.." && pwd)/target/tools/page"

browser() {
    for name in chromium-headless-shell chromium chromium-browser google-chrome; do
        ! command -v $name || return 0
    done
    return 1
}

if found=$(browser); then
    echo "tools: $found"
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "tools: installing Debian's package chromium-headless-shell"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium-headless-shell fonts-dejavu-core; } \
        >/dev/null 2>&1 || true
    browser || echo "tools: chromium-headless-shell can't be installed; the tests in a browser are skipped"
else
    echo "tools: no Chromium; the tests in a browser are skipped. Put chromium or google-chrome into PATH to run them."
fi

set -- axe-core@4.14.1 ical.js@2.2.1 fullcalendar@7.1.0
if [ "$(cat "$tools/installed" 2>/dev/null)" = "$*" ]; then
    echo "tools: $*"
elif ! command -v npm >/dev/null; then
    echo "tools: no npm to get $* with; the tests that need them are skipped"
else
    rm -rf "$tools"
    mkdir -p "$tools"
    # Where there is no way to npm it is to say so soon: by itself it tries again for minutes.
    if npm install --loglevel error --prefix "$tools" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
        --fetch-retries=0 --fetch-timeout=60000 "$@" >&2; then
        echo "$*" >"$tools/installed"
        echo "tools: $*, from npm"
    else
        echo "tools: npm can't get $*, as it says above; the tests that need them are skipped"
    fi
fi
