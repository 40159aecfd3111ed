#!/usr/bin/env python3
"""A serve runner: primes of a range. One process does job after job; see docs/runners.md.

A job's payload is {"from": 2, "to": 1000}: the primes p with from <= p < to. A candidate is {"p": 7}.
"""

import json
import sys


def say(**line):
    """Writes one line of the protocol. Flushed, or it would wait in a buffer while the worker waits for it."""
    print(json.dumps(line), flush=True)


def primes(start, end):
    """The primes from start up to, but without, end, by the sieve of Eratosthenes."""
    sieve = bytearray([1]) * end
    sieve[:2] = bytes(min(end, 2))
    for n in range(2, int(end**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, end, n)))
    return (n for n in range(max(start, 2), end) if sieve[n])


def run(job):
    """Does one job."""
    start, end = job["payload"]["from"], job["payload"]["to"]
    if not 0 <= start < end <= 10**8:
        raise ValueError(f"from {start} to {end} is not a range up to 10^8")
    found = 0
    for p in primes(start, end):
        say(candidate={"p": p})
        found += 1
        if found % 1000 == 0:
            say(progress=(p - start) / (end - start), note=f"{found} primes, at {p}")
    say(log=f"{found} primes from {start} to {end}, attempt {job['attempt']}")


def main():
    # What takes long to load (a model, a CUDA context) belongs here: it is loaded once, not once per job.
    say(ready=True)
    for line in sys.stdin:
        try:
            run(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            # Another try would fail the same way: the payload itself is at fault.
            say(**{"error": f"{type(error).__name__}: {error}", "class": "permanent"})
        else:
            say(done=True)


if __name__ == "__main__":
    main()
