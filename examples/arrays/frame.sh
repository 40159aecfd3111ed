#!/bin/sh
# A command runner for one task of an array. The payload, on standard input, has the task's number in the field that the array
# names; the number is in the environment, too.
set -eu
read -r payload
echo "task $ORCH_ARRAY_TASK_ID of array $ORCH_ARRAY_JOB_ID, as job $ORCH_JOB_ID: $payload" >&2
echo "{\"frame\":$ORCH_ARRAY_TASK_ID,\"array\":$ORCH_ARRAY_JOB_ID}"
