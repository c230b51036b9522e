// What the orchestrator's sessions are measured against: grpc-js with nothing behind it. It pings every stream once a
// second, evenly spread, encodes each ping and decodes each heartbeat with the same library and the same messages.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type handleBidiStreamingCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
} from '../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

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
server.addService(
  {
    openSession: {
      path: '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession',
      requestStream: true,
      responseStream: true,
      requestSerialize: (message: OpenSessionRequest) =>
        Buffer.from(toBinary(OpenSessionRequestSchema, message)),
      requestDeserialize: (bytes: Buffer) => fromBinary(OpenSessionRequestSchema, bytes),
      responseSerialize: (message: OpenSessionResponse) =>
        Buffer.from(toBinary(OpenSessionResponseSchema, message)),
      responseDeserialize: (bytes: Buffer) => fromBinary(OpenSessionResponseSchema, bytes),
    },
  },
  { openSession },
);

server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`${JSON.stringify({ msg: 'ready', grpc: `127.0.0.1:${port}` })}\n`);
});

const startMs = performance.now();
let passed = 0;
setInterval(() => {
  const due = Math.floor((performance.now() - startMs) / (1000 / wheelSlots));
  for (; passed < due; passed++) for (const call of slots[passed % wheelSlots] ?? []) ping(call);
}, 5);
