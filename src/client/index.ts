import { Agent } from './agent.ts';
import { createGrpcTransport } from './grpc-transport.ts';
import type { AgentHandle, ConnectAgentOptions } from './options.ts';

export { Relationship_Type } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
export type {
  Delivery,
  Message,
  Payload,
  Revoke,
  Task,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
export type { CallLimits } from './calls.ts';
export { type Client, type ClientOptions, createClient } from './client.ts';
export type { AgentCommand, CommandControls, CommandHandler, CommandHandlers } from './commands.ts';
export type { DeliveryControls, DeliveryHandler } from './delivery.ts';
export { AgentError, BudgetSpentError, CallFailedError, Code, PermanentError } from './errors.ts';
export type { LockControls, LockOptions } from './locks.ts';
export type {
  Answerable,
  IncomingMessage,
  MessageContext,
  MessageHandler,
  MessageHandlers,
} from './message.ts';
export type { Answer, CallOptions, Sent } from './messages.ts';
export type { AgentHandle, AgentState, ClientLogger, ConnectAgentOptions, StateChange } from './options.ts';
export type { EffectFrame } from './outbox.ts';
export type { CallTarget, MessageTarget, OutgoingMessage, SendOptions } from './outgoing.ts';
export type { Content } from './payloads.ts';
export type { AgentReport } from './reporter.ts';
export type { PutOptions, SharedChange, SharedState, SharedValue, SharedWrite } from './shared-state.ts';
export type { Subscription } from './subscriptions.ts';
export type { AgentTask, Amounts, TaskHandler, TaskHandlers } from './task.ts';
export type { TaskInfo, TaskState } from './task-info.ts';
export type { TaskRequest } from './task-request.ts';
export type { SubmitTaskOptions, TaskNews, Tasks, WatchTasksOptions } from './tasks.ts';
export type { TlsOptions } from './transport.ts';

/**
 * Registers an agent and attaches it. Resolves when the first session is open, and from then on keeps the agent
 * attached: answers pings, sends what changed, reconnects with jitter, resumes the work it holds.
 *
 * Rejects with an AgentError when trying again is of no use (bad spec, another process has a live session and
 * neither token nor takeover was given, stopped by an operator) or when `options.signal` fires.
 *
 *     const agent = await connectAgent({ server: '127.0.0.1:50051', id: 'sum-1', spec: { kind: 'summarizer' } });
 *     agent.report({ activity: 'idle', load: 0.1 });
 *     …
 *     await agent.leave('done for today');
 */
export async function connectAgent(options: ConnectAgentOptions): Promise<AgentHandle> {
  const createTransport = () => createGrpcTransport({ server: options.server, tls: options.tls });
  const agent = new Agent(options, { createTransport, random: Math.random, afterTurn: setImmediate });
  await agent.attached;
  return agent;
}
