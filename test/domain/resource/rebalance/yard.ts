import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  SetAutomationRequestSchema,
  UpdateAgentRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type Delivery,
  DeliveryUpdate_State,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  SubmitTaskRequestSchema,
  type TaskSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  type ApplyRebalanceRequestSchema,
  ApplyRebalanceRequestSchema as ApplySchema,
  PlanRebalanceRequest_Goal,
  PlanRebalanceRequestSchema,
  type RebalancePlan,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { SessionProtocolOptions } from '../../../../src/domain/agent/session-ports.ts';
import type { KnownTask } from '../../../../src/domain/coordination/tasks/task-record.ts';
import { validateFrame } from '../../../../src/domain/validation/frames.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { nameOf } from '../../agent/conversation-fixture.ts';
import { startFleet, type TestFleet, turns } from '../../agent/fleet-fixture.ts';
import { attach, type TestAgent } from '../../coordination/delivery-fixture.ts';

export const OPERATOR = { principal: 'operator', token: undefined };
export const { FREE_AGENTS, PLACE_WAITING, RELIEVE_HOT } = PlanRebalanceRequest_Goal;

type Spec = Exclude<MessageInitShape<typeof TaskSpecSchema>, { $typeName: string }>;
type Counts = Record<string, number>;

const bigints = (counts: Counts): Record<string, bigint> =>
  Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, BigInt(count)]));

/** A fleet of agents with a stream each that take tasks. */
export class Yard {
  readonly agents = new Map<string, TestAgent>();
  fleet: TestFleet;
  readonly #left: TestFleet[] = [];

  private constructor(fleet: TestFleet) {
    this.fleet = fleet;
  }

  static async open(flags: Record<string, string> = {}): Promise<Yard> {
    return new Yard(await startFleet({ flags }));
  }

  async close(): Promise<void> {
    for (const fleet of [...this.#left, this.fleet]) await fleet.stop();
  }

  async agent(id: string, capacity: Counts): Promise<void> {
    const capabilities = [{ name: 'work', version: '1' }];
    const token = await this.fleet.register(id, { capabilities, capacity: bigints(capacity) });
    this.agents.set(id, await attach(this.fleet, protocolOf(this.fleet), token, { instanceId: `p-${id}` }));
    await this.settle();
  }

  /** Another declaration of the same agent. */
  async declare(id: string, capacity: Counts): Promise<void> {
    const request = create(UpdateAgentRequestSchema, {
      agentId: id,
      spec: { capacity: bigints(capacity) },
      updateMask: { paths: ['capacity'] },
    });
    await this.fleet.agents.update(request, OPERATOR);
    await this.settle();
  }

  async report(id: string, usage: Counts): Promise<void> {
    this.#agent(id).send({ frame: { case: 'heartbeat', value: { report: { usage: bigints(usage) } } } });
    await this.settle();
  }

  /** Wherever there is room, and accepted there. */
  async task(id: string, resources: Counts, more: Spec = {}): Promise<void> {
    await this.submit(id, resources, more);
    const [agentId] = this.on(id);
    if (agentId === undefined) throw new Error(`nobody has task ${id}`);
    await this.accept(agentId, id);
  }

  async submit(id: string, resources: Counts, more: Spec = {}): Promise<void> {
    const spec = { capability: 'work', movable: true, ...more, resources: bigints(resources) };
    const request = create(SubmitTaskRequestSchema, { taskId: id, spec });
    await this.fleet.tasks.submit.submit(request, OPERATOR, { traceparent: '', tracestate: '' });
    await this.settle();
  }

  async accept(agentId: string, taskId: string): Promise<void> {
    const delivery = this.delivery(agentId, taskId);
    expectStored(await this.#agent(agentId).say(delivery, DeliveryUpdate_State.ACCEPTED));
    await this.settle();
  }

  async decline(agentId: string, taskId: string): Promise<void> {
    const delivery = this.delivery(agentId, taskId);
    expectStored(await this.#agent(agentId).say(delivery, DeliveryUpdate_State.DECLINED));
    await this.settle();
  }

  async succeed(agentId: string, taskId: string): Promise<void> {
    const delivery = this.delivery(agentId, taskId);
    expectStored(await this.#agent(agentId).say(delivery, DeliveryUpdate_State.SUCCEEDED));
    await this.settle();
  }

  /** The newest one of a task. */
  delivery(agentId: string, taskId: string): Delivery {
    const found = this.#agent(agentId)
      .deliveries()
      .findLast(({ item }) => item.case === 'task' && item.value.id === taskId);
    if (found === undefined) throw new Error(`${agentId} was not offered task ${taskId}`);
    return found;
  }

  /** Whether an agent was told to give a task back. */
  revoked(agentId: string): number {
    return this.#agent(agentId)
      .frames()
      .filter((frame) => frame.case === 'revoke').length;
  }

  known(id: string): KnownTask {
    const known = this.fleet.tasks.view.get('default', id);
    if (known === undefined) throw new Error(`no task ${id}`);
    return known;
  }

  /** The agents that have an attempt at it, in their order. */
  on(id: string): string[] {
    return this.known(id).record.live.map(({ agentId }) => agentId);
  }

  async plan(goals: PlanRebalanceRequest_Goal[] = []): Promise<RebalancePlan> {
    const { plan } = await this.fleet.resources.rebalancing.plan(
      create(PlanRebalanceRequestSchema, { goals }),
    );
    if (plan === undefined) throw new Error('no plan');
    return plan;
  }

  async apply(
    planId: string,
    more: Omit<
      Exclude<MessageInitShape<typeof ApplyRebalanceRequestSchema>, { $typeName: string }>,
      'planId'
    > = {},
  ) {
    const response = await this.fleet.resources.rebalancing.apply(
      create(ApplySchema, { planId, ...more }),
      OPERATOR,
    );
    await this.settle();
    return response;
  }

  /** All automatic action of the namespace. */
  async automate(enabled: boolean): Promise<void> {
    await this.fleet.automation.set(create(SetAutomationRequestSchema, { enabled }), OPERATOR);
    await this.settle();
  }

  /** Another replica on the same store takes over all that has to be done once. */
  async handOver(): Promise<void> {
    const { store, clock } = this.fleet;
    await this.fleet.care.leave();
    await this.fleet.tasks.scheduling.leave();
    const { agents } = this;
    agents.clear();
    this.#left.push(this.fleet);
    this.fleet = await startFleet({ store, clock, replicaId: 'replica-2' });
    await this.settle();
  }

  /** The chores, once, as the replica that holds the lease of care does them. */
  async chores(): Promise<void> {
    await this.fleet.tend();
    await this.settle();
  }

  /** Lets time pass; nobody is taken for gone because of it. */
  async later(ms: number): Promise<void> {
    this.fleet.clock.advance(ms);
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let round = 0; round < 3; round += 1) {
      await turns();
      this.fleet.tasks.scheduling.tick();
      await this.fleet.settle();
    }
  }

  /** Of types that begin so, without the others. */
  events(prefix = 'resource.') {
    return this.fleet.events().filter(({ type }) => type.startsWith(prefix));
  }

  #agent(id: string): TestAgent {
    const agent = this.agents.get(id);
    if (agent === undefined) throw new Error(`no agent ${id}`);
    return agent;
  }
}

function expectStored(reason: string): void {
  if (reason !== '') throw new Error(`refused: ${reason}`);
}

function protocolOf(fleet: TestFleet): SessionProtocolOptions {
  return {
    sessions: fleet.sessions,
    deliveries: fleet.deliveries,
    messages: fleet.coordination.messages,
    background: fleet.background,
    validateFrame,
    wireError: (error) => ({
      code: 3,
      reason: error instanceof DomainError ? nameOf(error) : 'INTERNAL',
      detail: error instanceof Error ? error.message : '',
      retryAfterMs: error instanceof DomainError ? error.retryAfterMs : undefined,
    }),
    replicaId: 'replica-1',
    maxFrameBytes: 1 << 20,
    reconnectGraceMs: 30_000,
    pacing: fleet.pacing,
  };
}
