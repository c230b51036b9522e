import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { CallOptions } from '@connectrpc/connect';
import { type Agent, Agent_PhaseSchema } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Connection } from './client.ts';
import { enumName } from './output/names.ts';
import {
  drainStanding,
  quarantineWords,
  restartStanding,
  type Standing,
  stopStanding,
} from './output/standing.ts';
import { good, type Line, plain, warn } from './output/text.ts';

/** What the options of an order say beside whom it goes to. */
export interface OrderOptions {
  reason?: string;
  /** Milliseconds. */
  deadline?: number;
  mandatory?: boolean;
  /** How long a quarantine lasts, milliseconds. */
  for?: number;
  expectedRevision?: bigint;
}

export interface OrderTarget {
  namespace: string;
  agentId: string;
  requestId: string;
}

export interface OrderAnswer {
  agent?: Agent | undefined;
  deliveryId: string;
}

/** One of the orders that an operator can give to agents. */
export interface Order {
  /** As it is typed. */
  name: string;
  description: string;
  /** More for its help. */
  help: string;
  takes: ReadonlySet<'deadline' | 'mandatory' | 'for'>;
  give(
    agents: Connection['agents'],
    target: OrderTarget,
    options: OrderOptions,
    call: CallOptions,
  ): Promise<OrderAnswer>;
  /** What the answer says, after the agent's name. */
  words(agent: Agent, nowMs: number): Line;
  /** How it stands by the agent's record; absent: it is done with the answer. */
  standing?: (agent: Agent, nowMs: number) => Standing;
}

export const orders: readonly Order[] = [
  {
    name: 'drain',
    description: 'have agents finish their work and take no more',
    help: `
Examples:
  orchestrator agents drain web-1 --reason 'kernel update' --deadline 5m --wait
  orchestrator agents drain -l tier=web,topology.kubernetes.io/zone=zone-a --reason 'zone-a goes away'

An agent is drained when it says that its work has stopped, or when the deadline has passed; which of the two it was is
told and recorded. With --wait only the former is a success.`,
    takes: new Set(['deadline', 'mandatory']),
    give: (agents, target, options, call) =>
      agents.drainAgent({ ...common(target, options), mandatory: options.mandatory ?? false }, call),
    words: (agent, nowMs) => drainStanding(agent, nowMs).words,
    standing: drainStanding,
  },
  {
    name: 'resume',
    description: 'give agents work again: ends a drain, a quarantine or a stop',
    help: `
Examples:
  orchestrator agents resume web-1 web-2
  orchestrator agents resume --phase quarantined --reason 'the disk was replaced'`,
    takes: new Set(),
    give: (agents, target, options, call) => agents.resumeAgent(common(target, options), call),
    words: ({ phase }) => [good('resumed'), plain(`: it is ${enumName(Agent_PhaseSchema, phase)}`)],
  },
  {
    name: 'restart',
    description: 'have the processes behind agents restarted, by their supervisors or by themselves',
    help: `
Examples:
  orchestrator agents restart trainer-1 --reason 'new weights' --wait
  orchestrator agents restart --kind trainer --yes

With --wait it ends when a new process has attached, or when that was refused, failed or expired.`,
    takes: new Set(['deadline']),
    give: (agents, target, options, call) => agents.restartAgent(common(target, options), call),
    words: (agent) => restartStanding(agent).words,
    standing: restartStanding,
  },
  {
    name: 'stop',
    description: 'have agents finish and leave; they may not attach again until they are resumed',
    help: `
Examples:
  orchestrator agents stop web-1 --reason retired --deadline 5m --wait
  orchestrator agents stop -l tier=batch

After the deadline the session is ended. With --wait only a goodbye of the agent is a success.`,
    takes: new Set(['deadline']),
    give: (agents, target, options, call) => agents.stopAgent(common(target, options), call),
    words: (agent) => stopStanding(agent).words,
    standing: stopStanding,
  },
  {
    name: 'quarantine',
    description: 'set agents aside: they stay attached and get no work',
    help: `
Examples:
  orchestrator agents quarantine web-1 --for 10m --reason 'answers nonsense'
  orchestrator agents quarantine -l version=1.4.0

Without --for until they are resumed.`,
    takes: new Set(['for']),
    give: (agents, target, options, call) => {
      const { deadline: _none, ...request } = common(target, options);
      const duration = options.for === undefined ? {} : { duration: durationFromMs(options.for) };
      return agents.quarantineAgent({ ...request, ...duration }, call);
    },
    words: ({ quarantine }, nowMs) => [
      warn('set aside '),
      ...(quarantine === undefined ? [] : quarantineWords(quarantine, nowMs)),
    ],
  },
];

function common(target: OrderTarget, { reason, deadline, expectedRevision }: OrderOptions) {
  return {
    ...target,
    reason: reason ?? '',
    ...(deadline === undefined ? {} : { deadline: durationFromMs(deadline) }),
    ...(expectedRevision === undefined ? {} : { expectedRevision }),
  };
}
