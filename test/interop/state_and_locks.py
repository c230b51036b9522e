"""The shared state and the locks, by the client that grpcio's tools generate: `state_and_locks.py SERVER`."""
import sys

import grpc
from google.protobuf.duration_pb2 import Duration
from mycosoft.orchestrator.agent.v1.session_service_pb2 import Payload
from mycosoft.orchestrator.coordination.v1 import lock_service_pb2 as locks, lock_service_pb2_grpc
from mycosoft.orchestrator.coordination.v1 import state_service_pb2 as states, state_service_pb2_grpc


def refused(call, request):
    """(code, reason, trailing metadata) of a call that must fail."""
    try:
        answer = call(request, timeout=10)
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        return error.code().name, trailers.get("error-reason")
    raise AssertionError(f"not refused: {answer}")


def shared_state(state):
    def write(key, text, **more):
        return states.StateWrite(key=key, put=Payload(text=text), **more)

    first = state.CommitState(states.CommitStateRequest(writes=[
        write("jobs/a", "one", expected_revision=0), write("jobs/b", "two")]), timeout=10)
    clash = states.CommitStateRequest(writes=[write("jobs/c", "three"), write("jobs/a", "x", expected_revision=0)])
    assert refused(state.CommitState, clash) == ("ABORTED", "REVISION_MISMATCH")
    assert refused(state.GetState, states.GetStateRequest(key="jobs/c")) == ("NOT_FOUND", "STATE_NOT_FOUND")

    watch = state.WatchState(states.WatchStateRequest(prefix="jobs/"), timeout=10)
    seen = {}
    for news in watch:
        seen.update({change.entry.key: change.entry.value.text for change in news.changes})
        if news.synced:
            break
    assert seen == {"jobs/a": "one", "jobs/b": "two"}, seen
    second = state.CommitState(states.CommitStateRequest(writes=[
        write("jobs/a", "four", expected_revision=first.revision), states.StateWrite(key="jobs/b", remove=True)]), timeout=10)
    changes = []
    for news in watch:
        changes += [(change.entry.key, states.StateChange.Type.Name(change.type)) for change in news.changes]
        if len(changes) >= 2:
            break
    watch.cancel()
    assert sorted(changes) == [("jobs/a", "TYPE_UPSERTED"), ("jobs/b", "TYPE_REMOVED")], changes
    entry = state.GetState(states.GetStateRequest(key="jobs/a"), timeout=10).entry
    assert (entry.value.text, entry.revision) == ("four", second.revision) and second.revision > first.revision
    listed = state.ListState(states.ListStateRequest(prefix="jobs/", min_revision=second.revision), timeout=10)
    assert [one.key for one in listed.entries] == ["jobs/a"]
    print("state: ok", flush=True)


def fencing(lock):
    def acquire(holder, **more):
        return locks.AcquireLockRequest(name="nightly", holder=holder, lease=Duration(seconds=5), **more)

    first = lock.AcquireLock(acquire("one", value=Payload(text="10.0.0.1")), timeout=10).lock
    held = acquire("two", wait=Duration(nanos=200_000_000))
    assert refused(lock.AcquireLock, held) == ("DEADLINE_EXCEEDED", "LOCK_HELD")
    found = lock.GetLock(locks.GetLockRequest(name="nightly"), timeout=10).lock
    assert found.fencing_token == first.fencing_token and found.value.text == "10.0.0.1"
    lock.RenewLock(locks.RenewLockRequest(name="nightly", fencing_token=first.fencing_token), timeout=10)
    lock.ReleaseLock(locks.ReleaseLockRequest(name="nightly", fencing_token=first.fencing_token), timeout=10)
    second = lock.AcquireLock(held, timeout=10).lock
    assert second.fencing_token > first.fencing_token
    stale = locks.RenewLockRequest(name="nightly", fencing_token=first.fencing_token)
    assert refused(lock.RenewLock, stale) == ("ABORTED", "LOCK_LOST")
    print("locks: ok", flush=True)


with grpc.insecure_channel(sys.argv[1]) as channel:
    shared_state(state_service_pb2_grpc.StateServiceStub(channel))
    fencing(lock_service_pb2_grpc.LockServiceStub(channel))
