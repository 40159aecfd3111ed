#!/bin/sh
# A command runner: steps and peak of the Collatz sequence of every start n, from <= n < to; see docs/runners.md.
#
# The payload comes as one line on standard input: {"from":1,"to":100}. Candidates go out as lines on standard output:
# {"n":27,"steps":111,"peak":9232}. Standard error is the job's log. Exit code 0 means that everything was found.
set -eu

read -r payload
number() {
    value=$(printf '%s\n' "$payload" | sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p")
    if [ -z "$value" ]; then
        echo "the payload has no whole number \"$1\": $payload" >&2
        exit 65
    fi
    echo "$value"
}
from=$(number from)
to=$(number to)
echo "job $ORCH_JOB_ID, attempt $ORCH_ATTEMPT, queue $ORCH_QUEUE: $from to $to" >&2

start=$from
while [ "$start" -lt "$to" ]; do
    n=$start steps=0 peak=$start
    while [ "$n" -gt 1 ]; do
        if [ $((n % 2)) -eq 0 ]; then n=$((n / 2)); else n=$((3 * n + 1)); fi
        steps=$((steps + 1))
        if [ "$n" -gt "$peak" ]; then peak=$n; fi
    done
    echo "{\"n\":$start,\"steps\":$steps,\"peak\":$peak}"
    start=$((start + 1))
done
