"""An agent that works by itself: reports progress, answers calls, drains, stops when it is cut off, says goodbye."""
import signal
import sys
import threading
import time

from google.protobuf.duration_pb2 import Duration
from mycosoft.orchestrator.agent.v1 import agent_pb2
from orchestrator_agent import Agent, Declined
import tracing

SERVER, AGENT_ID = (sys.argv + ["py-1"])[1:3]
SPEC = agent_pb2.AgentSpec(
    display_name="Python example", kind="summarizer", version="1.0", labels={"lang": "python"},
    capabilities=[agent_pb2.Capability(name="summarize", input_types=["text/plain"])],
    activities=[agent_pb2.Activity(name="summarizing", progress_budget=Duration(seconds=30))])
pages = 0


def work():
    """Your agent; here it "reads" ten pages a second, as long as it shall and the work is still its own."""
    global pages
    while agent.may_work.wait() and agent.wanted.wait():
        pages += 1
        time.sleep(0.1)


def report():
    activity = "summarizing" if agent.wanted.is_set() else "drained"
    return agent_pb2.Report(activity=activity, load=0.3, progress=[agent_pb2.Progress(name="pages", done=pages)])


def handle(held):
    """A message came. Whoever calls gets what is returned; raise Declined to refuse."""
    if held.message.type != "summarize" or not isinstance(held.data, str):
        raise Declined("takes messages of the type summarize, with text")
    return held.data.split(".")[0] + "."


tracing.start(AGENT_ID)
agent = Agent(SERVER, AGENT_ID, SPEC, handle, report)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: agent.leave())
threading.Thread(target=work, daemon=True).start()
agent.run()
