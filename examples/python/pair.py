"""Two agents that call each other: `pair.py SERVER ID [PEER]`, started twice, each with the other as its peer.

Whoever is asked "ask" with hops left asks its own peer first, and answers with the way that the question went.
"""
import signal
import sys
import threading
import time

from mycosoft.orchestrator.agent.v1 import agent_pb2
from orchestrator_agent import Agent, Declined, Refused
import tracing

arguments = dict(enumerate(sys.argv))
SERVER, AGENT_ID, PEER = arguments.get(1, "127.0.0.1:50051"), arguments.get(2, "py-1"), arguments.get(3)
SPEC = agent_pb2.AgentSpec(display_name="Python pair", kind="pair", version="1.0", labels={"lang": "python"},
                           capabilities=[agent_pb2.Capability(name="ask")])


def handle(held):
    """A message came; what is returned is the answer, if somebody waits for one."""
    if held.message.type == "greeting":
        print(f"{held.message.source} says {held.data}", flush=True)
        return None
    if held.message.type != "ask":
        raise Declined(f"does not know messages of the type {held.message.type}")
    way, hops = [agent.id], int(held.data["hops"])
    if hops > 0 and PEER:
        way += agent.call("ask", {"hops": hops - 1}, agent_id=PEER, timeout=held.time_left(10))["way"]
    return {"way": way}


def talk():
    """Greets everybody once, then asks the peer every two seconds."""
    try:
        agent.subscribe("greetings.*")
        agent.send("greeting", f"hello from {AGENT_ID}", topic="greetings.python")
    except Refused as error:
        print("not greeted:", error, file=sys.stderr, flush=True)
    while PEER:
        try:
            answer = agent.call("ask", {"hops": 1}, agent_id=PEER, timeout=10)
            print("asked:", " -> ".join([AGENT_ID, *answer["way"]]), flush=True)
        except Refused as error:
            if error.reason in ("AGENT_NOT_FOUND", "RECEIVER_GONE"):
                print(f"{PEER} is not there", flush=True)
            else:
                print("not asked:", error, file=sys.stderr, flush=True)
        time.sleep(2)


tracing.start(AGENT_ID)
agent = Agent(SERVER, AGENT_ID, SPEC, handle)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: agent.leave())
threading.Thread(target=talk, daemon=True).start()
agent.run()
