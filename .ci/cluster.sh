# For checks that run processes: sourced by them. They have a folder, $work, and what they start ends with them.
work=$(mktemp -d)
running=()
# What was started last ends first: whoever calls, before whom it calls.
ended() {
    local n tries
    for ((n = ${#running[@]} - 1; n >= 0; n--)); do
        kill "${running[n]}" 2> /dev/null || continue
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "${running[n]}" 2> /dev/null || break
            sleep 0.1
        done
        kill -9 "${running[n]}" 2> /dev/null || true
    done
    # Should anything be mounted in it after all, it stays.
    rm -rf --one-file-system "$work"
}
trap ended EXIT

# start NAME COMMAND...: in the background; its output is $work/NAME.out and $work/NAME.log, its number in $started.
start() {
    local name=$1
    shift
    touch "$work/$name.log"
    "$@" > "$work/$name.out" 2> "$work/$name.log" &
    started=$!
    running+=("$started")
}

# until_so NAME COMMAND...: looks again and again; fails with the log of NAME should that end before, or after two minutes.
until_so() {
    local name=$1 pid=$started tries
    shift
    for ((tries = 0; ; tries++)); do
        "$@" && return
        kill -0 "$pid" 2> /dev/null && [ $tries -lt 1200 ] || { tail -n 5 "$work/$name.log" "$work/$name.out" >&2; exit 1; }
        sleep 0.1
    done
}

# orchestrator NAME COMMAND...: starts one and waits until it listens; where, is $address.
orchestrator() {
    local name=$1
    shift
    start "$name" "$@" --listen 127.0.0.1:0 --allow-any-filesystem
    until_so "$name" grep -q '^orchestrator: listening on' "$work/$name.log"
    address=$(sed -n 's/^orchestrator: listening on \([^,]*\),.*/\1/p' "$work/$name.log")
}
