"""Says which devices it was given, and notes in a file from when to when it had them."""

import json
import os
import sys
import time

payload = json.loads(sys.stdin.readline()) or {}
gpus = os.environ["CUDA_VISIBLE_DEVICES"]
cpus = os.environ.get("ORCH_CPUS", "")


def note(what):
    """One line, in one write, so that lines of several jobs do not mix."""
    if "log" in payload:
        request = os.environ.get("ORCH_RESOURCE_REQUEST_gpus", "0")
        line = json.dumps({"what": what, "gpus": gpus, "of_gpus": request, "cpus": cpus}) + "\n"
        file = os.open(payload["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)


note("start")
time.sleep(payload.get("seconds", 0))
note("end")
print(json.dumps({"job": int(os.environ["ORCH_JOB_ID"]), "gpus": gpus, "cpus": cpus}))
