"""Fails in the ways that the rules of submit.yaml are about, as its payload says."""

import json
import os
import sys
import time

payload = json.loads(sys.stdin.readline())
how = payload.get("how", "well")
memory = os.environ.get("ORCH_RESOURCE_REQUEST_mem", "0")

if "BROKEN" in os.environ:
    sys.exit("device error: this machine's device is gone")
if how == "usage":
    print("there is no such option", file=sys.stderr)
    sys.exit(2)
if how == "memory" and float(memory) < payload["needs"]:
    sys.exit(f"Out of memory with {memory} MiB")
if how == "slow":
    time.sleep(600)
if how == "wait":
    # Until somebody makes the file, or takes away its folder.
    while not os.path.exists(payload["file"]) and os.path.isdir(os.path.dirname(payload["file"])):
        time.sleep(0.02)
print(json.dumps({"job": int(os.environ["ORCH_JOB_ID"]), "attempt": int(os.environ["ORCH_ATTEMPT"]), "mem": memory}))
