"""An agent that takes tasks: `worker.py SERVER ID`. Each task is a list of words to count, and costs a token a word.

Told {"words": [...], "seconds": 0.5}, it takes so long for each word: time to look on, to cancel, or to kill it.
"""
import signal
import sys

from mycosoft.orchestrator.agent.v1 import agent_pb2
from orchestrator_agent import Agent
from orchestrator_tasks import BudgetSpent, Permanent, Stopped
import tracing

SERVER, AGENT_ID = (sys.argv + ["worker-py"])[1:3]
SPEC = agent_pb2.AgentSpec(display_name="Python worker", kind="worker", version="1.0", labels={"lang": "python"},
                           capabilities=[agent_pb2.Capability(name="count-words", version="1.0")])


def work(task):
    """A task came; what is returned is its output."""
    try:
        return count(task)
    except Stopped:
        print(f"task {task.id} is not wanted any more", flush=True)
        raise


def count(task):
    if not isinstance(task.input, dict) or not isinstance(task.input.get("words"), list):
        raise Permanent('the input must be {"words": [...]}')
    words, counts = task.input["words"], {}
    print(f"task {task.id} attempt {task.attempt}: {len(words)} words", flush=True)
    for done, word in enumerate(words, 1):
        if "tokens" in task.left:
            try:
                task.spend(tokens=1)
            except BudgetSpent:
                return {"counts": counts, "left_out": len(words) - done + 1}  # of a task that may go on without
        task.wait(task.input.get("seconds", 0))  # the work; ends at once when the task is cancelled
        counts[word] = counts.get(word, 0) + 1
        task.progress(done, len(words), "words")
    return {"counts": counts}


tracing.start(AGENT_ID)
agent = Agent(SERVER, AGENT_ID, SPEC, on_task=work, concurrency=2)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: agent.leave())
agent.run()
