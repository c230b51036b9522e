"""Tasks, as a handler has them: `Agent(..., on_task=handler, concurrency=2)`, and the handler gets a Task."""
import threading

from mycosoft.orchestrator.agent.v1 import agent_pb2, session_service_pb2 as frames
from orchestrator_wire import Refused, grpc_code, new_id, value_of


class Permanent(Exception):
    """Raise it in a handler: to try the task again is of no use. After any other exception it is tried again, as its retry
    policy says."""


class BudgetSpent(Refused):
    """There is not so much left to spend."""


class Stopped(Exception):
    """The task was taken back, its time is over, or the agent counts as lost: nobody wants what comes of it."""


class Task:
    """A task that this agent has. What the handler returns is its output."""

    def __init__(self, agent, held):
        task = held.task
        self.id, self.capability, self.attempt = task.id, task.capability, task.attempt
        self.input = value_of(task.input)  # text, bytes, or what JSON holds
        self.labels, self.granted = dict(task.labels), dict(task.granted)
        self.left = {name: amount - task.spent.get(name, 0) for name, amount in task.budgets.items()}
        self._agent, self._held, self._spending = agent, held, threading.Lock()

    @property
    def stopped(self):
        """Look at it in long work, or use `check` or `wait`: a thread cannot be interrupted."""
        held = self._held
        return held.revoked.is_set() or not self._agent.may_work.is_set() or held.late()

    def check(self):
        if self.stopped:
            raise Stopped(f"task {self.id} is not wanted any more")

    def wait(self, seconds):
        """Sleeps, and raises Stopped as soon as the task is taken back."""
        self._held.revoked.wait(seconds)
        self.check()

    def time_left(self, at_most=30.0):
        """Seconds; for the timeout of what the handler calls in turn."""
        return self._held.time_left(at_most)

    def progress(self, done, total=None, name=""):
        """Tells how far it is: with the next report, at most one a second."""
        self._held.progress = agent_pb2.Progress(work=self._held.work, done=done, total=total, name=name)

    def spend(self, **amounts):
        """Asks to spend so much more: spend(tokens=5). Returns what is left, raises BudgetSpent where it is less than that."""
        with self._spending:  # the service is told all that was spent, so one after the other
            held = self._held
            spent = {**held.spent, **{name: held.spent.get(name, 0) + more for name, more in amounts.items()}}
            update = frames.DeliveryUpdate(work=held.work, state="STATE_ACCEPTED", spent=spent)
            frame = frames.OpenSessionRequest(frame_id=new_id(), delivery_update=update)
            try:
                result = self._agent.stored(frame, lambda: 0 if self.stopped else self.time_left(float("inf")))
            except Refused:
                self.check()
                raise
            if result.code:
                kind = BudgetSpent if result.reason == "BUDGET_SPENT" else Refused
                raise kind(grpc_code(result.code), result.reason, result.detail)
            held.spent = spent
            self.left = {name: left - amounts.get(name, 0) for name, left in self.left.items()}
            return self.left
