#!/bin/sh
# Changes the rules one by one, in a copy, and looks whether a test notices: tests/mutants.sh [FILE…], all rules and the parts
# of the controller that decide without I/O if none is named. The fast tests are to notice; what only an end-to-end test
# would notice counts as not noticed. Which tests those are says .cargo/mutants.toml.
set -u
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo mutants --version >/dev/null 2>&1 || $cargo install --locked cargo-mutants || exit 1

[ $# -gt 0 ] || set -- 'src/domain/**' src/controller/adoptions.rs src/controller/cached.rs \
    src/controller/errors.rs src/controller/memory.rs src/controller/namespaces.rs \
    src/controller/sources.rs src/controller/triggers.rs src/controller/users.rs src/controller/verdicts.rs
for file; do
    set -- "$@" --file "$file"
    shift
done

# That an input fails is enough: nobody needs the smallest, or its seed.
export PROPTEST_CASES="${PROPTEST_CASES:-64}" PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_MAX_SHRINK_ITERS=0
echo "== mutants: a build with each of the changes (hours for all; FILES=src/domain/expiry.rs takes one file)"
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
