#!/bin/sh
# Makes target/tools/dashboard/page.js, which draws the dashboard: from page.jsx beside this file and Grafana's own
# components, which come from npm with half a gigabyte of what they need. For `make dashboard` alone; no test needs it.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
tools="$here/../../../target/tools/dashboard"

set -- @grafana/ui@13.2.2 @grafana/data@13.2.2 react@19.3.1 react-dom@19.3.1 rxjs@7.8.2 \
    @fontsource-variable/inter@5.3.0 esbuild@0.28.2
if [ "$(cat "$tools/installed" 2>/dev/null)" != "$*" ]; then
    echo "dashboard: getting $* from npm"
    rm -rf "$tools"
    mkdir -p "$tools"
    npm install --silent --prefix "$tools" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
        --fetch-retries=0 --fetch-timeout=60000 "$@" >&2
    echo "$*" >"$tools/installed"
fi
cp "$here/page.jsx" "$tools"
cd "$tools"
# Of editors that no panel shows, fonts are left out.
node_modules/.bin/esbuild page.jsx --bundle --minify --format=iife --jsx=automatic --log-level=warning --outfile=page.js \
    --loader:.ttf=empty --loader:.svg=dataurl --loader:.woff2=dataurl '--define:process.env.NODE_ENV="production"'
