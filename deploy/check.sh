#!/usr/bin/env bash
# Format, lints and unit tests of what changed, in less time than it takes to lose the thread. `make check` calls it.
#
#   usage: deploy/check.sh
#   BASE=COMMIT   what the tree is compared with      [where this branch left the main one; else the last commit]
#
# Changes that are not committed count, new files included. Clippy also goes over the crates that depend on a changed
# one; tests do not, and neither do integration tests: the last lines name what was left out. `make test` runs it all.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'check: %s\n' "$*"; }

# Where HEAD left the main branch. A clone may have no remote and no branch of that name: then changes are what is not
# committed.
find_base() {
    local branch
    if [ -n "${BASE:-}" ]; then
        git merge-base HEAD "$BASE"
        return
    fi
    for branch in origin/HEAD origin/main main; do
        if git rev-parse --quiet --verify "$branch^{commit}" > /dev/null && git merge-base HEAD "$branch"; then
            return
        fi
    done
    git rev-parse HEAD
}

base="$(find_base)"
mapfile -t changed < <(
    { git diff --name-only "$base" --; git ls-files --others --exclude-standard; } | sort -u
)
say "${#changed[@]} files differ from $(git log -1 --format='%h (%s)' "$base")"

# All members of the workspace as lines "folder package", in the order of Cargo.toml.
members="$(
    for folder in $(sed -n '/^members/,/\]/p' Cargo.toml | grep -oE '"[^"]+"' | tr -d '"'); do
        printf '%s %s\n' "$folder" "$(sed -n 's/^name = "\(.*\)"$/\1/p' "$folder/Cargo.toml" | head -n 1)"
    done
)"

tested=()
others=()
for file in "${changed[@]}"; do
    package="$(awk -v folder="${file%%/*}" '$1 == folder { print $2 }' <<< "$members")"
    if [ -z "$package" ]; then
        others+=("$file")
    elif [[ " ${tested[*]} " != *" $package "* ]]; then
        tested+=("$package")
    fi
done
everything='^(Cargo\.(toml|lock)|clippy\.toml|\.cargo/.*)$'
if decisive="$(printf '%s\n' "${others[@]}" | grep -E "$everything")"; then
    say "every crate depends on" $decisive
    mapfile -t tested < <(cut -d ' ' -f 2 <<< "$members")
    mapfile -t others < <(printf '%s\n' "${others[@]}" | grep -vE "$everything")
fi

say "formatting"
cargo fmt --all --check
git diff --check "$base" --

if [ "${#tested[@]}" -gt 0 ]; then
    linted="$(
        for package in "${tested[@]}"; do
            cargo tree --quiet --workspace --invert "$package" --edges all --prefix none --format '{p}' | cut -d ' ' -f 1
        done | sort -u | grep -Fx -f <(cut -d ' ' -f 2 <<< "$members")
    )"
    say "lints of" $linted
    cargo clippy --quiet $(printf -- '--package %s ' $linted) --all-targets -- -D warnings
    say "unit tests of" "${tested[@]}"
    cargo test --quiet $(printf -- '--package %s ' "${tested[@]}") --lib --bins -- --test-threads="${TEST_THREADS:-2}"
fi

for package in "${tested[@]}"; do
    folder="$(awk -v package="$package" '$2 == package { print $1 }' <<< "$members")"
    [ -d "$folder/tests" ] && say "skipped: cargo test --package $package --test '*'"
done
[ "${#others[@]}" -gt 0 ] && say "skipped: files that belong to no crate: ${others[*]}"
say "skipped: tests of crates that did not change; make test runs everything"
say "passed after $SECONDS s"
