"""An agent's side of the orchestrator: one session that is kept up, deliveries, tasks, calls, messages, topics.

Copy this file, orchestrator_tasks.py, orchestrator_wire.py and tracing.py beside the client generated from proto/ (README.md
says how). agent.py, pair.py and worker.py use it.
"""
import queue
import random
import sys
import threading
import time

import grpc
from mycosoft.orchestrator.agent.v1 import agent_pb2, agent_service_pb2, agent_service_pb2_grpc
from mycosoft.orchestrator.agent.v1 import session_service_pb2 as frames, session_service_pb2_grpc
from mycosoft.orchestrator.coordination.v1 import message_service_pb2, message_service_pb2_grpc

from orchestrator_tasks import BudgetSpent, Permanent, Task
from orchestrator_wire import (
    Declined, Refused, grpc_code, is_outcome, message, new_id, payload, retry_after, seconds, value_of)
import tracing

MAX_HELD = 64  # deliveries that are worked on at a time; beyond that they are declined for now
MAX_UNANSWERED = 1_000  # frames whose effect is not stored yet
REMEMBERED = 1_000  # outcomes, so that a delivery that comes again is not carried out again
GONE = ("DELIVERY_UNKNOWN", "ATTEMPT_STALE")  # an outcome that is not wanted any more
USELESS = ("INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNIMPLEMENTED")


class Held:
    """A delivery that is being worked on. It may come again with a higher attempt: then that one is answered."""

    def __init__(self, frame):
        self.work = frame.work
        self.message = frame.message if frame.HasField("message") else None
        self.command = frame.command if frame.HasField("command") else None
        self.task = frame.task if frame.HasField("task") else None
        self.wants_answer = frame.wants_answer  # somebody waits for what the handler returns
        self.shared = frame.shared  # others have it, too
        # Messages of one key are handled one after the other; calls have no order: their callers wait for them.
        self.key = (frame.ordering_key or frame.message.source) if self.message and not self.wants_answer else None
        self.before, self.finished = None, threading.Event()
        self.trace = {"traceparent": frame.traceparent, "tracestate": frame.tracestate}
        self.revoked = threading.Event()  # taken back: stop, nobody wants the outcome
        self.accepted = False
        self.spent, self.progress = {}, None  # of a task: all that this attempt has spent; how far it is
        self.since = time.monotonic()
        self.deadline = self.since + seconds(frame.time_left) if frame.HasField("time_left") else float("inf")

    @property
    def name(self):
        """For people."""
        return f"task {self.task.capability} {self.task.id}" if self.task else self.message.type if self.message else ""

    def late(self):
        return time.monotonic() > self.deadline

    def time_left(self, at_most=30.0):
        """Seconds; for the timeout of what the handler calls in turn."""
        return max(0.1, min(at_most, self.deadline - time.monotonic()))

    @property
    def data(self):
        """The message's content: text, bytes, or what JSON holds."""
        return value_of(self.message.data)


class Agent:
    """Registers, attaches, comes back, answers. `handle(held)` takes messages and returns the answer to a call; `on_task(task)`
    takes tasks, `concurrency` at a time, and returns the output."""

    def __init__(self, server, agent_id, spec, handle=None, report=agent_pb2.Report, max_in_flight=8,
                 on_task=None, concurrency=1):
        self.id, self.epoch = agent_id, 0
        self.may_work = threading.Event()  # set while attached; clear: the lease is over, others may have the work
        self.wanted = threading.Event()  # clear: drained by an operator
        self.wanted.set()
        self._server, self._spec, self._handle, self._report = server, spec, handle, report
        self._max_in_flight, self._instance = max(max_in_flight, concurrency), new_id()
        self._on_task, self._concurrency = on_task, concurrency
        self._reported, self._told = 0.0, []  # when a report went last, and how far tasks were then
        if on_task and "slots" not in spec.capacity:
            spec.capacity["slots"] = concurrency  # the service gives it no more at a time
        self._lock = threading.RLock()
        self._held, self._done = {}, {}  # by delivery id
        self._last = {}  # the latest message of each ordering key
        self._unanswered = {}  # frames by id, sent again in each session until a result came; oldest first
        self._results = {}  # what somebody waits for, by frame id
        self._token = self._stream = self._leaving = None
        self._up, self._lease = queue.SimpleQueue(), float("inf")
        self._opened = self._heard = 0.0  # when the stream was opened, when anything came, by the monotonic clock
        # Calls have a connection of their own: they outlive a session.
        self._channel = grpc.insecure_channel(server, [("grpc.max_reconnect_backoff_ms", 2_000)])
        self._messages = message_service_pb2_grpc.MessageServiceStub(self._channel)

    # ---- what an agent does with others

    def call(self, type, data=None, timeout=30.0, idempotent=False, **to):
        """Asks agent_id= or capability= and returns the answer's data. Raises Refused."""
        with tracing.span("call", type, "CLIENT") as carrier:
            timeout = self._attached(timeout)
            request = message_service_pb2.CallAgentRequest(
                send=message(type, data, carrier, to), idempotent=idempotent, session_epoch=self.epoch)
            answer = self._ask(self._messages.CallAgent, request, timeout, carrier)
            return value_of(answer.output)

    def send(self, type, data=None, timeout=30.0, **to):
        """Sends to agent_id=, capability=, topic= or selector=; returns once it is stored. Raises Refused."""
        with tracing.span("send", type, "PRODUCER") as carrier:
            if len(self._unanswered) >= MAX_UNANSWERED:
                raise Refused("RESOURCE_EXHAUSTED", "", "too much waits to be stored", 1.0)
            frame = frames.OpenSessionRequest(frame_id=new_id(), send=message(type, data, carrier, to))
            result = self.stored(frame, lambda: timeout)
            if result.code:
                raise Refused(grpc_code(result.code), result.reason, result.detail)

    def stored(self, frame, time_left):
        """Sends a frame until it is answered, and returns the result. `time_left()`: seconds; 0: nobody waits any more."""
        until, answer = time.monotonic() + time_left(), queue.SimpleQueue()
        self._results[frame.frame_id] = answer
        self._post(frame)
        try:
            while time.monotonic() < until and time_left():
                try:
                    return answer.get(timeout=min(0.1, max(0.0, until - time.monotonic())))
                except queue.Empty:
                    pass
        finally:
            self._results.pop(frame.frame_id)
        raise Refused("DEADLINE_EXCEEDED", "", "not known to be stored; it is sent again")

    def subscribe(self, topic, timeout=30.0):
        """Has this agent receive what is sent to a topic, or to all topics under a prefix: "jobs.*"."""
        timeout = self._attached(timeout)
        subscription = message_service_pb2.Subscription(agent_id=self.id, topic=topic)
        request = message_service_pb2.CreateSubscriptionRequest(subscription=subscription, request_id=new_id())
        self._ask(self._messages.CreateSubscription, request, timeout)

    def leave(self, reason="told to stop"):
        """Says goodbye, within a moment; `run` returns. May be called anywhere, also in a signal handler."""
        self._leaving = reason

    def run(self):
        """Keeps the agent attached until it has left or shall not come back."""
        session = threading.Thread(target=self._stay_attached, daemon=True)
        session.start()
        said_goodbye, give_up_at = False, float("inf")
        while session.is_alive():
            session.join(0.1)
            self._keep_watch()
            if self._leaving and give_up_at == float("inf"):
                give_up_at = time.monotonic() + 5
            if self._leaving and self.epoch and not said_goodbye:
                said_goodbye = True
                self._up.put(frames.OpenSessionRequest(leave=frames.Leave(reason=self._leaving)))
                self._up.put(None)  # half-close, and then read to the end
            if time.monotonic() > give_up_at:
                self._hang_up()
        self._channel.close()
        print("left" if self._leaving else "stopped", flush=True)

    # ---- the session

    def _stay_attached(self):
        wait, tries, renewed = 0.0, 0, False
        while wait is not None and not self._leaving:
            self._sleep(wait + (random.uniform(0.5, 1) * min(15, 2 ** tries) if tries else 0))
            if self._leaving:
                return
            began = time.monotonic()
            try:  # a fresh connection each time: no second backoff underneath
                with grpc.insecure_channel(self._server, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                    wait = self._session(channel)
            except grpc.RpcError as error:
                code, wait = error.code().name, retry_after(error) or 0.0
                if not self._leaving:
                    print(code, error.details(), file=sys.stderr, flush=True)
                if code in USELESS or (code == "UNAUTHENTICATED" and renewed):
                    wait = None
                elif code in ("UNAUTHENTICATED", "NOT_FOUND"):  # the token is void, or the agent was removed
                    self._token, renewed = None, True
            finally:
                self._up.put(None)
                self._stream, self.epoch = None, 0
            if time.monotonic() - began > 10:
                tries, renewed = 0, False
            tries = min(tries + 1, 4)

    def _session(self, channel):
        """Attaches once. Returns the seconds to wait before the next time, or None: do not come back."""
        if not self._token:
            request = agent_service_pb2.RegisterAgentRequest(agent_id=self.id, spec=self._spec, request_id=new_id())
            registered = agent_service_pb2_grpc.AgentServiceStub(channel).RegisterAgent(request, timeout=10)
            self._token = registered.agent_token
        with self._lock:
            untold = [frame.delivery_update.work for frame in self._unanswered.values() if is_outcome(frame)]
            works = untold + [one.work for one in self._held.values()]
            held = list({work.delivery_id: work for work in works}.values())
        hello = frames.Hello(instance_id=self._instance, client="example-py/2", report=self._full_report(),
                             features=["messages/1"], max_in_flight=self._max_in_flight, held=held[:1024])
        self._up = queue.SimpleQueue()
        self._up.put(frames.OpenSessionRequest(hello=hello))
        self._opened = time.monotonic()
        self._stream = session_service_pb2_grpc.SessionServiceStub(channel).OpenSession(
            iter(self._up.get, None), metadata=self._auth())
        for down in self._stream:
            self._stop_work_after_lease()  # a process that was frozen reads first what waited for it
            self._heard = time.monotonic()
            kind = down.WhichOneof("frame")
            if kind == "welcome":
                self._welcome(down.welcome)
            elif kind == "ping":
                self._answer_ping(down.ping)
            elif kind == "delivery":
                self._take(down.delivery)
            elif kind == "revoke":
                self._revoke(down.revoke.work)
            elif kind == "result":
                self._result(down.result)
            elif kind == "go_away":
                print("go_away", frames.GoAway.Reason.Name(down.go_away.reason), flush=True)
                return seconds(down.go_away.reconnect_after) if down.go_away.HasField("reconnect_after") else None
        return 0.0

    def _welcome(self, welcome):
        self._lease = seconds(welcome.lease)
        for work in welcome.revoked:
            self._revoke(work)
        with self._lock:
            self.epoch = welcome.epoch
            for frame in self._unanswered.values():
                self._up.put(frame)
        self.may_work.set()
        print(f"connected epoch={welcome.epoch}", flush=True)

    def _answer_ping(self, ping):
        beat = frames.Heartbeat(echo=ping.echo, report=self._full_report())
        if ping.HasField("lease"):
            self._lease = seconds(ping.lease)
        beat.agent_time.GetCurrentTime()
        beat.held.FromNanoseconds(int((time.monotonic() - self._heard) * 1e9))
        self._up.put(frames.OpenSessionRequest(heartbeat=beat))
        self.may_work.set()

    def _full_report(self):
        """The report, and how far the tasks are."""
        report, self._reported = self._report(), time.monotonic()
        with self._lock:
            report.progress.extend([one.progress for one in self._held.values() if one.progress][:256])
        return report

    def _keep_watch(self):
        """Ten times a second: is the stream dead, is the lease over, what is to be accepted or told."""
        silent = time.monotonic() - max(self._heard, self._opened)
        if silent > min(self._lease * 2 / 3, float("inf") if self.epoch else 10):
            self._hang_up()  # while there is still time to come back
        self._stop_work_after_lease()
        with self._lock:
            for held in self._held.values():
                if not held.accepted and self.epoch and time.monotonic() > held.since + 0.05:
                    self._accept(held)  # it takes longer: so it does not come again, and others come meanwhile
            told = [one.progress for one in self._held.values() if one.progress]
        if told != self._told and self.epoch and time.monotonic() > self._reported + 1:
            self._told = told
            self._up.put(frames.OpenSessionRequest(heartbeat=frames.Heartbeat(report=self._full_report())))

    def _stop_work_after_lease(self):
        if time.monotonic() - self._heard > self._lease and self.may_work.is_set():
            self.may_work.clear()
            print("lease expired: work stopped", flush=True)

    # ---- deliveries: each on a thread of its own, told apart by delivery id and attempt

    def _take(self, frame):
        with self._lock:
            done, held = self._done.get(frame.work.delivery_id), self._held.get(frame.work.delivery_id)
            if done:  # its outcome did not arrive, or was lost with the store: the same again
                if frame.work.attempt >= done.work.attempt:
                    done.work.CopyFrom(frame.work)
                    self._tell(done)
            elif held:  # it goes on, and answers the newest attempt
                if frame.work.attempt > held.work.attempt:
                    held.work = frame.work
                    if held.accepted:
                        self._accept(held)
            elif self._full(frame):
                why = "busy" if self.wanted.is_set() else "drained"
                self._tell(frames.DeliveryUpdate(work=frame.work, state="STATE_DECLINED", error=why, retryable=True))
            else:
                held = self._held[frame.work.delivery_id] = Held(frame)
                if held.key:
                    held.before, self._last[held.key] = self._last.get(held.key), held
                threading.Thread(target=self._carry_out, args=[held], daemon=True).start()

    def _full(self, frame):
        if frame.HasField("task"):
            tasks = sum(1 for one in self._held.values() if one.task)
            return tasks >= self._concurrency or not self.wanted.is_set()
        return len(self._held) >= MAX_HELD and not frame.HasField("command")

    def _carry_out(self, held):
        if held.before:
            held.before.finished.wait()
            held.before = None
        if not held.revoked.is_set():
            self._do(held)
        held.finished.set()
        with self._lock:
            if self._last.get(held.key) is held:
                del self._last[held.key]

    def _do(self, held):
        update = frames.DeliveryUpdate(state="STATE_SUCCEEDED")
        try:
            if held.command:
                self._obey(held)
            elif self._on_task and held.task:
                self._work_on(held, update)
            elif self._handle and held.message:
                with tracing.span("process", held.message.type, "CONSUMER", held.trace, held.shared):
                    answer = self._handle(held)
                    if answer is not None:
                        update.output.CopyFrom(payload(answer))
            else:
                raise Declined("this agent takes nothing of the kind")
        except Exception as error:
            declined, useless = isinstance(error, Declined), isinstance(error, (Permanent, BudgetSpent))
            again = bool(held.task and not useless) or bool(held.message and not held.wants_answer)
            update = frames.DeliveryUpdate(
                state="STATE_DECLINED" if declined else "STATE_FAILED", error=(str(error) or repr(error))[:4096],
                retryable=error.retryable if declined else again, spent=held.spent)
        with self._lock:
            if self._held.get(held.work.delivery_id) is not held:
                return  # taken back meanwhile
            del self._held[held.work.delivery_id]
            update.work.CopyFrom(held.work)
            if not update.retryable:
                self._done[held.work.delivery_id] = update
                if len(self._done) > REMEMBERED:
                    del self._done[next(iter(self._done))]
            self._tell(update)
        if held.command and held.command.type == "stop":
            self.leave("stopped by order")

    def _work_on(self, held, update):
        with self._lock:
            self._accept(held)  # at once: it runs from now on
        with tracing.span("run", held.task.capability, "CONSUMER", held.trace):
            output = self._on_task(Task(self, held))
            if output is not None:
                update.output.CopyFrom(payload(output))
        for name, amount in held.spent.items():
            update.spent[name] = amount

    def _obey(self, held):
        order = held.command.type
        if order == "resume":
            self.wanted.set()
        elif order in ("drain", "stop"):
            self.wanted.clear()
            while any(one.name for one in list(self._held.values())) and not held.revoked.wait(0.05):
                pass  # finishes what it holds
        elif order not in ("quarantine", "dependency_lost", "dependency_recovered"):  # notices
            raise Declined(f"does not know the order {order}")

    def _accept(self, held):
        held.accepted = True
        update = frames.DeliveryUpdate(work=held.work, state="STATE_ACCEPTED", spent=held.spent)
        if held.command:
            update.running.extend([one.name for one in self._held.values() if one.name][:64])
        self._up.put(frames.OpenSessionRequest(delivery_update=update))

    def _revoke(self, work):
        with self._lock:
            held = self._held.get(work.delivery_id)
            if held and held.work.attempt == work.attempt:
                del self._held[work.delivery_id]
                held.revoked.set()
            for frame_id, frame in list(self._unanswered.items()):
                if is_outcome(frame) and frame.delivery_update.work == work:
                    del self._unanswered[frame_id]

    # ---- frames with an effect: sent again until a result says that it is stored

    def _tell(self, update):
        self._post(frames.OpenSessionRequest(frame_id=new_id(), delivery_update=update))

    def _post(self, frame):
        with self._lock:
            self._unanswered[frame.frame_id] = frame
            if self.epoch:  # else the next welcome sends it
                self._up.put(frame)

    def _result(self, result):
        with self._lock:
            frame = self._unanswered.get(result.frame_id)
            if frame and result.HasField("retry_after"):  # not now, for example while the store is away
                again = threading.Timer(seconds(result.retry_after), self._send_again, [frame])
                again.daemon = True
                again.start()
                return
            self._unanswered.pop(result.frame_id, None)
        waiting = self._results.get(result.frame_id)
        if waiting:
            waiting.put(result)
        elif result.code and result.reason not in GONE:
            print("refused", result.reason, result.detail, file=sys.stderr, flush=True)

    def _send_again(self, frame):
        with self._lock:
            if self.epoch and frame.frame_id in self._unanswered:
                self._up.put(frame)

    # ---- small things

    def _ask(self, method, request, timeout, carrier=None):
        try:
            return method(request, timeout=timeout, metadata=self._auth() + list((carrier or {}).items()))
        except grpc.RpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            reason = trailers.get("error-reason", "")
            raise Refused(error.code().name, reason, error.details(), retry_after(error)) from None

    def _attached(self, timeout):
        """Waits for a session. Returns what is left of the time."""
        until = time.monotonic() + timeout
        while not self.epoch:
            if time.monotonic() > until or self._leaving:
                raise Refused("UNAVAILABLE", "", "not attached", 1.0)
            time.sleep(0.05)
        return max(0.1, until - time.monotonic())

    def _auth(self):
        return [("authorization", f"Bearer {self._token}")]

    def _hang_up(self):
        if self._stream:
            self._stream.cancel()

    def _sleep(self, duration):
        until = time.monotonic() + duration
        while time.monotonic() < until and not self._leaving:
            time.sleep(0.05)
