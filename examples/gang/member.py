"""One member of a gang: sums its part of the numbers; rank 0 collects the parts and delivers the sum.

The payload names a folder that all members see; rank 0 leaves there where it listens. A program that uses MPI or
torch.distributed gets its rank, its size and the host of rank 0 in the same way.
"""

import json
import os
import socket
import sys
import time

payload = json.loads(sys.stdin.readline())
rank, size = int(os.environ["ORCH_GANG_RANK"]), int(os.environ["ORCH_GANG_SIZE"])
members = os.environ["ORCH_GANG_MEMBERS"].split(",")
host = os.environ["ORCH_GANG_HOSTS"].split(",")[0]
meeting = os.path.join(payload["meet"], f"job-{os.environ['ORCH_JOB_ID']}-{os.environ['ORCH_ATTEMPT']}")

part = sum(range(rank, payload["to"] + 1, size))
print(f"rank {rank} of {size} on {members[rank]}: {part}, pid {os.getpid()}", file=sys.stderr, flush=True)

while "gate" in payload and not os.path.exists(payload["gate"]):
    time.sleep(0.02)

if rank == 0:
    with socket.create_server((host, 0)) as server:
        with open(meeting + ".new", "w") as file:
            file.write(str(server.getsockname()[1]))
        os.rename(meeting + ".new", meeting)
        for _ in range(size - 1):
            connection, _ = server.accept()
            with connection, connection.makefile() as lines:
                part += int(lines.readline())
    os.remove(meeting)
    print(json.dumps({"to": payload["to"], "sum": part, "members": members}))
else:
    while not os.path.exists(meeting):
        time.sleep(0.02)
    with open(meeting) as file:
        port = int(file.read())
    with socket.create_connection((host, port)) as connection:
        connection.sendall(f"{part}\n".encode())
    # What another member than the first prints goes to the job's log.
    print(f"rank {rank} is done")
