"""Takes tasks as lines of JSON on stdin and answers on stdout; knows nothing else of any orchestrator.

    orchestrator supervise --tasks stdin --capability resize -- python3 examples/supervise/resize.py
"""
import json
import sys
import time


def answer(task, **what):
    print(json.dumps({"id": task["id"], **what}), flush=True)


for line in sys.stdin:
    task = json.loads(line)
    if "capability" not in task:  # a cancel, which comes too late here: this program does one thing after the other
        continue
    if not isinstance(task["input"], list):
        answer(task, error="the input must be a list of pictures", retryable=False)
        continue
    for number, picture in enumerate(task["input"], 1):
        print("resizing", picture, file=sys.stderr)
        time.sleep(0.2)
        answer(task, progress={"done": number, "total": len(task["input"])})
    answer(task, output={"pictures": len(task["input"])})
