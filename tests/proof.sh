#!/bin/sh
# Tries everything that must always hold in as many ways as there are, and prints one table of it: what, how many cases,
# how many failures. Each test that counts cases says so in a line "proof: what | cases"; this collects them.
set -u
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
out=target/proof
mkdir -p "$out"
rm -f "$out"/*.log
started=$(date +%s)

# What has many cases runs with optimizations. Which cases there are is decided by the tests; these take all of them.
export CRASH_POINTS=all FAULTS=all STALLS=all HISTORIES="${HISTORIES:-2000}" HISTORIES_END_TO_END="${HISTORIES_END_TO_END:-20}"

# run NAME COMMAND…: prints what is counted as soon as it is, and of the tests only those that fail.
run() {
    name=$1
    shift
    printf '== proof: %s\n' "$name"
    "$@" >"$out/$name.log" 2>&1 &
    pid=$!
    tail -n +1 -f --pid="$pid" "$out/$name.log" 2>/dev/null |
        awk '/^proof: / { sub(/^proof: /, ""); print "   " $0; fflush() } /\.\.\. FAILED$|^error/ { print "   " $0; fflush() }'
    wait "$pid"
    code=$?
    echo "exit: $code" >>"$out/$name.log"
}

run in-process $cargo test --profile simulate --test in_process -- --nocapture --skip day:: --skip pace::
run input $cargo test --lib -- --nocapture properties
run end-to-end $cargo test --test cluster -- --nocapture --test-threads "${THREADS:-12}" \
    api_server:: crash:: histories:: leadership:: misuse:: silence:: sockets:: tls::

echo
awk -v minutes="$((($(date +%s) - started + 30) / 60))" '
    # Some awks count bytes.
    function size(text) { gsub(/×/, "x", text); return length(text) }
    function line(what, cases, failures) { printf "%s%" (width - size(what)) "s  %7s  %8s\n", what, "", cases, failures }
    function row(what, cases, failures) { lines[++rows] = what "\t" cases "\t" failures; if (size(what) > width) width = size(what) }
    FNR == 1 { suite = FILENAME; sub(/.*\//, "", suite); sub(/\.log$/, "", suite); suites[++count] = suite }
    /^proof: / {
        text = $0; sub(/^proof: /, "", text); split(text, part, / *\| */)
        row(part[1], part[2], 0)
        cases += part[2]
    }
    /^test result: / { for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) passed[suite] += $i; if ($(i + 1) ~ /^failed/) failed[suite] += $i } }
    /^exit: / { if ($2 != 0 && !failed[suite]) broken[suite] = 1 }
    END {
        for (i = 1; i <= count; i++) {
            suite = suites[i]
            row("tests, " suite, passed[suite] + failed[suite], broken[suite] ? "not run" : failed[suite] + 0)
            bad += failed[suite] + broken[suite]
        }
        line("WHAT", "CASES", "FAILURES")
        for (i = 1; i <= rows; i++) { split(lines[i], part, "\t"); line(part[1], part[2], part[3]) }
        printf "\n%d cases in %d minutes: ", cases, minutes
        if (bad) { print "NOT PROVEN. What failed, and how, is in target/proof/*.log"; exit 1 }
        print "all hold. What was run is in target/proof/*.log"
    }' "$out/in-process.log" "$out/input.log" "$out/end-to-end.log"
