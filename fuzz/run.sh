#!/bin/sh
# Looks for inputs for which a property doesn't hold: fuzz/run.sh SECONDS [TARGET…]. All targets, unless some are named.
set -eu
cd "$(dirname "$0")"

needs() {
    echo "make fuzz needs $1, which is not installed; nothing was run. Install it by: $2" >&2
    exit 1
}
cargo +nightly --version >/dev/null 2>&1 || needs "nightly Rust" "rustup toolchain install nightly"
cargo +nightly fuzz --version >/dev/null 2>&1 || needs "cargo-fuzz" "cargo install --locked cargo-fuzz"

seconds=$1
shift
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list)

echo "== fuzzing: building (the first time takes minutes)"
# No sanitizer: they look for what only unsafe code can do, and unsafe code is forbidden here.
cargo +nightly fuzz build --sanitizer none

failed=0
for target in "$@"; do
    # What is found on the way is kept apart from the seeds, and used again the next time.
    found=target/found/$target
    log=target/found/$target.log
    mkdir -p "$found"
    if cargo +nightly fuzz run --sanitizer none "$target" "$found" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=16384 -timeout=20 -dict=words.dict -print_final_stats=1 >"$log" 2>&1; then
        echo "$target: the property holds for all of $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
    else
        failed=1
        tail -n 40 "$log" >&2
        echo "$target: the property doesn't hold for the input in fuzz/artifacts/$target. Mend what is wrong, and keep the input as a file of its own in fuzz/corpus/$target: make test runs it from then on. All that was printed: fuzz/$log" >&2
    fi
done
exit $failed
