"""A complete agent: registers, stays attached, reports, stops work when cut off, comes back, says goodbye."""
import itertools, queue, random, signal, sys, threading, time, uuid
import grpc
from google.protobuf.duration_pb2 import Duration
from mycosoft.orchestrator.agent.v1 import agent_pb2 as pb, agent_service_pb2 as reg, agent_service_pb2_grpc as regrpc
from mycosoft.orchestrator.agent.v1 import session_service_pb2 as ses, session_service_pb2_grpc as sesrpc

SERVER, AGENT_ID = sys.argv[1], (sys.argv + ["py-1"])[2]
SPEC = pb.AgentSpec(display_name="Python example", kind="summarizer", version="1.0", labels={"lang": "python"},
    capabilities=[pb.Capability(name="summarize", input_types=["text/plain"])],
    activities=[pb.Activity(name="summarizing", progress_budget=Duration(seconds=30))])
RENEW, FINAL = ("UNAUTHENTICATED", "NOT_FOUND"), ("INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNIMPLEMENTED")
instance, attached, wanted, done, leaving = str(uuid.uuid4()), threading.Event(), threading.Event(), itertools.count(1), False
token, call, up, heard, lease, pages = None, None, queue.Queue(), 0.0, float("inf"), 0

def work():                                      # <- your agent; here it "reads" ten pages a second
    global pages
    while attached.wait() and wanted.wait(): pages = next(done); time.sleep(0.1)

def answer(delivery):                            # to commands; messages and tasks are not for this agent
    order = delivery.command.type
    if order in ("drain", "stop"): wanted.clear()
    if order == "resume": wanted.set()
    state = "STATE_SUCCEEDED" if order in ("drain", "resume", "stop") else "STATE_DECLINED"
    up.put(ses.OpenSessionRequest(delivery_update=ses.DeliveryUpdate(work=delivery.work, state=state)))
    if order == "stop": leave()

def report():
    return pb.Report(activity="summarizing" if wanted.is_set() else "drained", load=0.3, progress=[pb.Progress(name="pages", done=pages)])

def expired(silent):                             # stops work once the lease has passed: others may have it by now
    if silent > lease and attached.is_set(): attached.clear(); print("lease expired: work stopped", flush=True)

def watch():                                     # gives up a dead stream while there is still time to come back
    while time.sleep(0.1) is None:
        silent = time.monotonic() - heard
        if silent > lease * 2 / 3 and call: call.cancel()
        expired(silent)

def leave(*_):
    global leaving
    leaving = True; up.put(ses.OpenSessionRequest(leave=ses.Leave(reason="told to stop"))); up.put(None)
    timer = threading.Timer(5, lambda: call and call.cancel()); timer.daemon = True; timer.start()

def session(channel):                            # -> seconds to wait before the next one; None: stop
    global token, call, up, heard, lease
    auth = lambda: [("authorization", f"Bearer {token}")] if token else None
    if not token:
        request = reg.RegisterAgentRequest(agent_id=AGENT_ID, spec=SPEC, request_id=str(uuid.uuid4()))
        token = regrpc.AgentServiceStub(channel).RegisterAgent(request, timeout=10).agent_token
    up = queue.Queue(); up.put(ses.OpenSessionRequest(hello=ses.Hello(instance_id=instance, client="example-py/1", report=report())))
    heard, call = time.monotonic(), sesrpc.SessionServiceStub(channel).OpenSession(iter(up.get, None), metadata=auth())
    for down in call:
        expired(time.monotonic() - heard)        # a process that was frozen reads first what waited for it
        heard, at, kind = time.monotonic(), time.monotonic_ns(), down.WhichOneof("frame")
        if kind == "welcome":
            lease = down.welcome.lease.ToNanoseconds() / 1e9
            attached.set(); print(f"connected epoch={down.welcome.epoch}", flush=True)
        elif kind == "ping":
            beat = ses.Heartbeat(echo=down.ping.echo, report=report())
            attached.set()
            if down.ping.HasField("lease"): lease = down.ping.lease.ToNanoseconds() / 1e9
            beat.agent_time.GetCurrentTime(); beat.held.FromNanoseconds(time.monotonic_ns() - at)
            up.put(ses.OpenSessionRequest(heartbeat=beat))
        elif kind == "delivery":
            answer(down.delivery)
        elif kind == "go_away":
            print("go_away", ses.GoAway.Reason.Name(down.go_away.reason), flush=True)
            return down.go_away.reconnect_after.ToNanoseconds() / 1e9 if down.go_away.HasField("reconnect_after") else None
    return 0

def main():
    global token, call
    wanted.set(); signal.signal(signal.SIGTERM, leave); signal.signal(signal.SIGINT, leave)
    for job in (work, watch): threading.Thread(target=job, daemon=True).start()
    wait, tries, renewed = 0, 0, False
    while wait is not None and not leaving:
        time.sleep(wait + random.uniform(0.5, 1) * (min(15, 2 ** tries) if tries else 0)); began = time.monotonic()
        try:                                     # a fresh connection each time: no second backoff underneath
            with grpc.insecure_channel(SERVER, [("grpc.use_local_subchannel_pool", 1)]) as channel: wait = session(channel)
        except grpc.RpcError as error:
            code, wait = error.code().name, 0
            if not leaving: print(code, error.details(), file=sys.stderr, flush=True)
            if code in FINAL or (code == "UNAUTHENTICATED" and renewed): wait = None
            elif code in RENEW: token, renewed = None, True
        finally: up.put(None); call = None
        if time.monotonic() - began > 10: tries, renewed = 0, False
        tries = min(tries + 1, 6)
    print("left" if leaving else "stopped", flush=True)

if __name__ == "__main__": main()
