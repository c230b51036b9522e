// What the orchestrator's sessions are measured against: grpc-js with nothing behind it. It pings every stream once a
// second, evenly spread, encodes each ping and decodes each heartbeat with the same library and the same messages.
import { create } from '@bufbuild/protobuf';
import { type handleBidiStreamingCall, Server, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  type OpenSessionRequest,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  SessionService,
} from '../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { listen, methodOf } from './serving.ts';

const wheelSlots = 100;
type Call = ServerDuplexStream<OpenSessionRequest, OpenSessionResponse>;

const slots: Set<Call>[] = Array.from({ length: wheelSlots }, () => new Set());
let attached = 0;
let echo = 0n;

const openSession: handleBidiStreamingCall<OpenSessionRequest, OpenSessionResponse> = (call) => {
  const slot = slots[attached++ % wheelSlots];
  call.on('data', (request: OpenSessionRequest) => {
    if (request.frame.case !== 'hello') return;
    call.write(create(OpenSessionResponseSchema, { frame: { case: 'welcome', value: { epoch: 1n } } }));
    slot?.add(call);
  });
  const leave = () => slot?.delete(call);
  call.on('cancelled', leave);
  call.on('error', leave);
  call.on('end', () => {
    leave();
    call.end();
  });
};

function ping(call: Call): void {
  echo += 1n;
  call.write(create(OpenSessionResponseSchema, { frame: { case: 'ping', value: { echo } } }));
}

const server = new Server();
server.addService({ openSession: methodOf(SessionService.method.openSession) }, { openSession });
listen(server);

const startMs = performance.now();
let passed = 0;
setInterval(() => {
  const due = Math.floor((performance.now() - startMs) / (1000 / wheelSlots));
  for (; passed < due; passed++) for (const call of slots[passed % wheelSlots] ?? []) ping(call);
}, 5);
