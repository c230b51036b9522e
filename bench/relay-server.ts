// What messages are measured against: grpc-js with nothing behind it. It hands each message on to its receiver's stream and
// answers sender and receiver, with the same library and the same messages as the orchestrator; it stores nothing.
import { create } from '@bufbuild/protobuf';
import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  Server,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import {
  type Message,
  type OpenSessionRequest,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  type SendMessage,
  SessionService,
} from '../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type CallAgentRequest,
  type CallAgentResponse,
  CallAgentResponseSchema,
  MessageService,
} from '../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { listen, methodOf } from './serving.ts';

type Stream = ServerDuplexStream<OpenSessionRequest, OpenSessionResponse>;

const streams = new Map<string, Stream>();
const calls = new Map<string, (response: CallAgentResponse) => void>();
let deliveries = 0;

function hand(to: SendMessage['to'], message: Message | undefined, wantsAnswer: boolean): string {
  const deliveryId = `d${++deliveries}`;
  const item = message === undefined ? { case: undefined } : { case: 'message' as const, value: message };
  const value = { work: { deliveryId, attempt: 1n }, item, wantsAnswer };
  streams
    .get(to.case === 'agentId' ? to.value : '')
    ?.write(create(OpenSessionResponseSchema, { frame: { case: 'delivery', value } }));
  return deliveryId;
}

const openSession: handleBidiStreamingCall<OpenSessionRequest, OpenSessionResponse> = (stream) => {
  const result = (frameId: string): void => {
    if (frameId === '') return;
    stream.write(create(OpenSessionResponseSchema, { frame: { case: 'result', value: { frameId } } }));
  };
  stream.on('data', ({ frame, frameId }: OpenSessionRequest) => {
    if (frame.case === 'hello') {
      streams.set(frame.value.instanceId, stream);
      stream.write(create(OpenSessionResponseSchema, { frame: { case: 'welcome', value: { epoch: 1n } } }));
    } else if (frame.case === 'send') {
      hand(frame.value.to, frame.value.message, false);
      result(frameId);
    } else if (frame.case === 'deliveryUpdate') {
      const { work, output } = frame.value;
      const deliveryId = work?.deliveryId ?? '';
      const done = calls.get(deliveryId);
      calls.delete(deliveryId);
      done?.(create(CallAgentResponseSchema, { deliveryId, ...(output === undefined ? {} : { output }) }));
      result(frameId);
    }
  });
  stream.on('error', () => {});
  stream.on('end', () => stream.end());
};

const callAgent: handleUnaryCall<CallAgentRequest, CallAgentResponse> = ({ request }, callback) => {
  const id = hand(request.send?.to ?? { case: undefined }, request.send?.message, true);
  calls.set(id, (response) => callback(null, response));
};

const server = new Server();
server.addService({ openSession: methodOf(SessionService.method.openSession) }, { openSession });
server.addService({ callAgent: methodOf(MessageService.method.callAgent) }, { callAgent });
listen(server);
