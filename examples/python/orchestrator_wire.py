"""What travels between an agent and the orchestrator, as Python has it: errors, payloads, durations, ids."""
import json
import uuid

import grpc
from google.protobuf import json_format
from mycosoft.orchestrator.agent.v1 import session_service_pb2 as frames


class Refused(Exception):
    """What the service answers instead of doing it: tell them apart by `reason` (error_reason.proto)."""

    def __init__(self, code, reason, detail, retry_after=None):
        super().__init__(f"{code} {reason}: {detail}")
        self.code, self.reason, self.retry_after = code, reason, retry_after  # retry_after: seconds; None: useless


class Declined(Exception):
    """Raise it in a handler to refuse a delivery; with retryable it comes again later. After any other exception a
    message comes again, a few times, and a call has failed: its caller is told."""

    def __init__(self, why, retryable=False):
        super().__init__(why)
        self.retryable = retryable


def new_id():
    return str(uuid.uuid4())


def message(type, data, carrier, to):
    """A SendMessage. Its id makes repeats recognisable; the trace context travels in its extensions, too."""
    content = frames.Message(id=new_id(), type=type, extensions=carrier)
    if data is not None:
        content.data.CopyFrom(payload(data))
    return frames.SendMessage(message=content, **to)


def payload(data):
    if isinstance(data, bytes):
        return frames.Payload(binary=data)
    if isinstance(data, str):
        return frames.Payload(text=data)
    return json_format.Parse(json.dumps({"json": data}), frames.Payload())


def value_of(data):
    kind = data.WhichOneof("data")
    return json_format.MessageToDict(data.json) if kind == "json" else getattr(data, kind) if kind else None


def is_outcome(frame):
    return frame.WhichOneof("frame") == "delivery_update"


def seconds(duration):
    return duration.seconds + duration.nanos / 1e9


def retry_after(error):
    ms = dict(error.trailing_metadata() or ()).get("retry-after-ms")
    return int(ms) / 1000 if ms else None


def grpc_code(number):
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), str(number))
