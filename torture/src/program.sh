#!/bin/sh
# What jobs of the tortures run: `sh program.sh`, with a payload {"dir":"DIR","n":N}, in which DIR holds the gates.
#
# It starts a child, writes down the numbers of both, waits for a gate, finds N, waits for a gate, finds N + 1, waits for
# a gate and ends. The gates of the first attempt are DIR/find-1, DIR/more-1 and DIR/end-1; those of later ones DIR/open.
# Whoever outlives the torture ends with its folder.
set -eu

read -r payload
dir=$(printf '%s\n' "$payload" | sed -n 's/.*"dir":"\([^"]*\)".*/\1/p')
n=$(printf '%s\n' "$payload" | sed -n 's/.*"n":\([0-9]*\).*/\1/p')

gate() {
    file="$dir/$1-1"
    if test "$ORCH_ATTEMPT" != 1; then
        file="$dir/open"
    fi
    while ! test -e "$file"; do
        test -d "$dir" || exit 1
        sleep 0.02
    done
}

(while test -d "$dir"; do sleep 0.1; done) >/dev/null 2>&1 &
child=$!
echo "$$ $child" >"$dir/pids-$ORCH_ATTEMPT.new"
mv "$dir/pids-$ORCH_ATTEMPT.new" "$dir/pids-$ORCH_ATTEMPT"
gate find
echo "{\"n\":$n}"
gate more
echo "{\"n\":$((n + 1))}"
gate end
kill "$child"
