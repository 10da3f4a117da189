#!/bin/sh
# Changes the rules one by one, in a copy, and looks whether a test notices: tests/mutants.sh [OPTION OF cargo-mutants…],
# such as `--file src/domain/expiry.rs`, or `--iterate` to try anew only what wasn't noticed. What to change and which
# tests are to notice says .cargo/mutants.toml.
set -u
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo mutants --version >/dev/null 2>&1 || $cargo install --locked cargo-mutants || exit 1

# That an input fails is enough: nobody needs the smallest, or its seed.
export PROPTEST_CASES="${PROPTEST_CASES:-64}" PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_MAX_SHRINK_ITERS=0
echo "== mutants: a build with each of the changes (hours for all; a file: ARGS='--file src/domain/expiry.rs')"
$cargo mutants --no-shuffle --output target "$@"
code=$?

# 2 and 3: some were not noticed, or never ended.
case $code in
0 | 2 | 3) ;;
*)
    echo "make mutants: cargo-mutants itself failed, with $code; its message is above. Nothing is known of the tests." >&2
    exit "$code"
    ;;
esac
lines() { wc -l <"target/mutants.out/$1.txt" | tr -d ' '; }
printf '\n%-34s %6s\n' "changes that" ""
printf '%-34s %6s\n' "  a test noticed" "$(lines caught)" "  led to no end, so the test too" "$(lines timeout)" \
    "  don't compile" "$(lines unviable)" "  nobody noticed" "$(lines missed)"
[ "$(lines missed)" = 0 ] || sed 's/^/    /' target/mutants.out/missed.txt
# What isn't noticed may be the same in effect: that is for a person to judge.
exit 0
