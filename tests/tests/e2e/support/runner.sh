#!/bin/sh
# The programs that the jobs of the tests run: `sh runner.sh WHAT`, with a payload {"file":"PATH",...}.
set -eu

read -r payload
file=$(printf '%s\n' "$payload" | sed -n 's/.*"file":"\([^"]*\)".*/\1/p')

case $1 in
    # The file's lines are the candidates.
    emit)
        cat "$file"
        ;;
    # The same, and the log says where in which trace it runs.
    traced)
        echo "$TRACEPARENT" >&2
        cat "$file"
        ;;
    # The same, if there is such a file.
    flag)
        if ! test -e "$file"; then
            echo "attempt $ORCH_ATTEMPT of job $ORCH_JOB_ID: no flag yet" >&2
            exit 3
        fi
        cat "$file"
        ;;
    # The same, as soon as there is such a file. Whoever outlives the test ends with its folder.
    gate)
        echo "attempt $ORCH_ATTEMPT waits" >&2
        while ! test -e "$file"; do
            test -d "$(dirname "$file")" || exit 1
            sleep 0.02
        done
        cat "$file"
        ;;
    # Runs until it is stopped, with a child of its own; both numbers stand in the file.
    family)
        sleep 60 &
        echo "$$ $!" > "$file.new"
        mv "$file.new" "$file"
        wait
        ;;
    *)
        echo "nothing is called $1" >&2
        exit 64
        ;;
esac
