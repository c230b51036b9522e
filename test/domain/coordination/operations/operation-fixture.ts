import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Delivery,
  DeliveryUpdate_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type AgentOutcome,
  AgentOutcome_State,
  CancelOperationRequestSchema,
  GetOperationRequestSchema,
  type Operation,
  type OperationSpecSchema,
  PauseOperationRequestSchema,
  ResumeOperationRequestSchema,
  StartOperationRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import { fleet, protocolOptions } from '../../agent/conversation-fixture.ts';
import { turns } from '../../agent/fleet-fixture.ts';
import { attach, type TestAgent } from '../delivery-fixture.ts';

export const OPERATOR = { principal: 'operator', token: undefined };
const NO_TRACE = { traceparent: '', tracestate: '' };

export type Answer =
  | { state: DeliveryUpdate_State; more?: object }
  /** The command stays as it is. */
  | undefined;
export type Manner = (delivery: Delivery) => Answer;

const { SUCCEEDED, DECLINED, ACCEPTED, FAILED } = DeliveryUpdate_State;
export const succeeds: Manner = () => ({ state: SUCCEEDED });
export const declines: Manner = () => ({ state: DECLINED, more: { error: 'not me' } });
export const fails: Manner = () => ({ state: FAILED, more: { error: 'broken' } });
export const silent: Manner = () => undefined;
/** Takes it on and never ends. */
export const hangs: Manner = () => ({ state: ACCEPTED });

/** Agents with a stream each, that answer commands as they are told to. */
export class Crew {
  readonly agents = new Map<string, { agent: TestAgent; token: string; manner: Manner; answered: number }>();

  /** Registers and attaches "c00", "c01", … */
  static async of(
    count: number,
    manner: Manner = succeeds,
    labels: Record<string, string> = {},
  ): Promise<Crew> {
    const crew = new Crew();
    for (let index = 0; index < count; index += 1) {
      const id = `c${String(index).padStart(2, '0')}`;
      const token = await fleet.register(id, { labels: { crew: 'yes', ...labels } });
      await crew.attach(id, token, manner, `p-${id}`);
    }
    return crew;
  }

  async attach(id: string, token: string, manner: Manner, instanceId: string): Promise<void> {
    const agent = await attach(fleet, protocolOptions(), token, { instanceId });
    this.agents.set(id, { agent, token, manner, answered: 0 });
  }

  /** Another process takes the place of an agent's. */
  async replace(id: string, instanceId: string): Promise<void> {
    const { agent, token, manner } = this.#get(id);
    agent.breakOff();
    await turns();
    await this.attach(id, token, manner, instanceId);
  }

  set(ids: readonly string[], manner: Manner): void {
    for (const id of ids) this.#get(id).manner = manner;
  }

  /** The commands that an agent was handed, by type. */
  commands(id: string): string[] {
    const all = this.#get(id).agent.deliveries();
    return all.flatMap(({ item }) => (item.case === 'command' ? [item.value.type] : []));
  }

  deliveries(id: string): Delivery[] {
    return this.#get(id).agent.deliveries();
  }

  agent(id: string): TestAgent {
    return this.#get(id).agent;
  }

  /** Lets everybody answer and the operation go on, until nothing happens any more. */
  async work(rounds = 200): Promise<void> {
    let still = 0;
    for (let round = 0; round < rounds && still < 2; round += 1) {
      await fleet.tend();
      await turns(4);
      let said = false;
      for (const each of this.agents.values()) {
        const deliveries = each.agent.deliveries();
        for (; each.answered < deliveries.length; each.answered += 1) {
          const delivery = deliveries[each.answered];
          const answer = delivery && each.manner(delivery);
          if (delivery === undefined || answer === undefined) continue;
          said = true;
          await each.agent.say(delivery, answer.state, answer.more);
        }
      }
      await fleet.settle();
      still = said ? 0 : still + 1;
    }
  }

  #get(id: string) {
    const found = this.agents.get(id);
    if (found === undefined) throw new Error(`no agent ${id}`);
    return found;
  }
}

type Spec = Exclude<MessageInitShape<typeof OperationSpecSchema>, { $typeName: string }>;

export const everybody = { labelSelector: 'crew=yes' };

/** Starts an operation for the crew. */
export async function start(
  spec: Spec,
  more: { dryRun?: boolean; requestId?: string } = {},
  trace = NO_TRACE,
) {
  const filter = spec.agentIds === undefined && spec.filter === undefined ? { filter: everybody } : {};
  const request = create(StartOperationRequestSchema, { spec: { ...filter, ...spec }, ...more });
  const response = await fleet.coordination.operations.start.start(request, OPERATOR, trace);
  await turns();
  return { operation: known(response.operation), agents: response.agents };
}

export async function get(operationId: string): Promise<{ operation: Operation; agents: AgentOutcome[] }> {
  const request = create(GetOperationRequestSchema, { operationId, withAgents: true, pageSize: 1000 });
  const { operation, agents } = await fleet.coordination.operations.reader.get(request);
  return { operation: known(operation), agents };
}

type Change = { reason?: string; expectedRevision?: bigint; requestId?: string };
const { operations } = { operations: () => fleet.coordination.operations.operations };
export const pause = async (operationId: string, more: Change = {}) =>
  known(
    (await operations().pause(create(PauseOperationRequestSchema, { operationId, ...more }), OPERATOR))
      .operation,
  );
export const resume = async (operationId: string, more: Change & { retryFailed?: boolean } = {}) =>
  known(
    (await operations().resume(create(ResumeOperationRequestSchema, { operationId, ...more }), OPERATOR))
      .operation,
  );
export const cancel = async (operationId: string, more: Change = {}) =>
  known(
    (await operations().cancel(create(CancelOperationRequestSchema, { operationId, ...more }), OPERATOR))
      .operation,
  );

function known(operation: Operation | undefined): Operation {
  if (operation === undefined) throw new Error('no operation in the answer');
  return operation;
}

/** "c00 done", one for each agent. */
export const standing = (agents: readonly AgentOutcome[]): string[] =>
  agents.map(({ agentId, state }) => `${agentId} ${stateName(state)}`);

export const stateName = (state: AgentOutcome_State): string =>
  (Object.entries(AgentOutcome_State).find(([, value]) => value === state)?.[0] ?? '?').toLowerCase();
