import {
  type Agent,
  type Agent_Liveness,
  Agent_Phase,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentChange_Type,
  type WatchAgentsResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { ageSpan, healthSpan, livenessSpan, phaseSpan, reading } from './agent-cells.ts';
import { answeredAtMs, freshnessOf } from './freshness.ts';
import { byWords, drainStanding, restartStanding, type Standing } from './standing.ts';
import { dim, type Line, plain, type Span, strong } from './text.ts';
import { formatClock, formatDuration, timestampMs } from './time.ts';

/** Turns a watch of agents into lines that say what changed. */
export interface AgentFeed {
  receive(response: WatchAgentsResponse): Line[];
  /** A new snapshot follows; until it is complete, what it leaves out is not yet known to be gone. */
  restart(): void;
}

interface Known {
  agent: Agent;
  phase: Agent_Phase;
  liveness: Agent_Liveness;
  spec: string;
  drain: Standing | undefined;
  restart: Standing | undefined;
}

export function createAgentFeed({ staleMs, now }: { staleMs: number; now: () => Date }): AgentFeed {
  const known = new Map<string, Known>();
  /** Ids that a repeated snapshot has not named yet. */
  let unseen: Set<string> | undefined;
  let synced = false;

  function upsert(agent: Agent): Line[] {
    const before = known.get(agent.id);
    unseen?.delete(agent.id);
    const nowMs = answeredAtMs(agent, now().getTime());
    const after: Known = {
      agent,
      phase: agent.phase,
      liveness: agent.liveness,
      spec: specKey(agent),
      drain: agent.drain && drainStanding(agent, nowMs),
      restart: agent.restart && restartStanding(agent),
    };
    known.set(agent.id, after);
    if (before === undefined)
      return [
        line('+', agent, [
          phaseSpan(agent.phase),
          plain(' '),
          liveness(agent),
          ...kind(agent),
          ...why(agent),
        ]),
      ];
    const changes: Span[] = [];
    const add = (...spans: Span[]) => changes.push(...(changes.length > 0 ? [plain(', ')] : []), ...spans);
    if (before.liveness !== after.liveness) {
      add(dim(livenessSpan(before.liveness).text), dim(' → '), liveness(agent), ...why(agent));
    }
    if (before.phase !== after.phase)
      add(
        dim(phaseSpan(before.phase).text),
        dim(' → '),
        phaseSpan(agent.phase),
        ...setAside(agent, before.phase),
      );
    for (const order of ['drain', 'restart'] as const) {
      const { words = [], step } = after[order] ?? {};
      if (step !== undefined && (step !== before[order]?.step || newer(agent[order], before.agent[order])))
        add(...words);
    }
    if (before.spec !== after.spec) add(plain('spec changed'));
    if (changes.length === 0) {
      if (unseen !== undefined) return [];
      add(liveness(agent), ...why(agent));
    }
    return [line('~', agent, changes)];
  }

  function remove(agent: Agent): Line[] {
    known.delete(agent.id);
    unseen?.delete(agent.id);
    return [line('-', agent, [dim('deregistered, or matches no more')])];
  }

  function line(mark: '+' | '~' | '-', agent: Agent, rest: Line): Line {
    const time = agent.updateTime === undefined ? now() : new Date(timestampMs(agent.updateTime));
    return [
      dim(`${formatClock(synced ? time : now())} `),
      plain(`${mark} `),
      strong(agent.id),
      plain('  '),
      ...rest,
    ];
  }

  /** Observations in a change are as old as they say; a connected agent without a recent one is marked. */
  function liveness(agent: Agent): Span {
    const freshness = freshnessOf(agent, staleMs);
    return livenessSpan(agent.liveness, freshness.kind === 'stale' ? freshness : undefined);
  }

  function samples(response: WatchAgentsResponse): Line[] {
    return response.samples.flatMap(({ agentId, observation }) => {
      const agent = known.get(agentId)?.agent;
      if (agent === undefined || observation === undefined) return [];
      const measured = { ...agent, observation };
      const freshness = freshnessOf(measured, staleMs);
      const trip = observation.roundTrip;
      return [
        [
          dim(`${formatClock(now())} `),
          plain('· '),
          strong(agentId),
          plain('  health '),
          healthSpan(measured, freshness),
          plain('  rtt '),
          reading(trip && `${formatDuration(trip.p50)}/${formatDuration(trip.p95)}`, freshness),
          plain('  load '),
          reading(observation.report?.load?.toFixed(2), freshness),
          dim('  reading '),
          ageSpan(freshness),
        ],
      ];
    });
  }

  return {
    receive(response) {
      const lines: Line[] = [];
      for (const { type, agent } of response.changes) {
        if (agent === undefined) continue;
        lines.push(...(type === AgentChange_Type.REMOVED ? remove(agent) : upsert(agent)));
      }
      if (response.synced && unseen !== undefined) {
        const gone = [...unseen].flatMap((id) => known.get(id)?.agent ?? []);
        unseen = undefined;
        for (const agent of gone) lines.push(...remove(agent));
      }
      if (response.synced && !synced) {
        synced = true;
        lines.push([
          dim(
            `${formatClock(now())} ${known.size} ${known.size === 1 ? 'agent' : 'agents'}; changes follow as they happen`,
          ),
        ]);
      }
      lines.push(...samples(response));
      return lines;
    },
    restart() {
      unseen = new Set(known.keys());
    },
  };
}

function kind({ spec }: Agent): Span[] {
  return spec === undefined || spec.kind === '' ? [] : [dim(`  ${spec.kind}`)];
}

/** Why an agent was set aside, when it was. */
function setAside({ phase, quarantine }: Agent, before: Agent_Phase): Span[] {
  if (phase === before || phase !== Agent_Phase.QUARANTINED || quarantine === undefined) return [];
  const { reason, actor } = quarantine;
  return [dim(`${reason === '' ? '' : `  ${reason}`}${byWords(actor)}`)];
}

/** Another order than before, though it stands as the one before did. */
function newer(order: Order | undefined, before: Order | undefined): boolean {
  return order?.startTime !== undefined && before?.startTime !== undefined
    ? timestampMs(order.startTime) !== timestampMs(before.startTime)
    : false;
}

type Order = Pick<NonNullable<Agent['drain']>, 'startTime'>;

function why({ verdict }: Agent): Span[] {
  if (verdict === undefined) return [];
  return [dim(`  ${verdict.detail === '' ? verdict.rule : verdict.detail}`)];
}

/** Equal for equal specs, whatever the order of their maps. */
function specKey({ spec }: Agent): string {
  return (
    JSON.stringify(spec, (_key, value: unknown) => {
      if (typeof value === 'bigint') return `${value}`;
      if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
      return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
    }) ?? ''
  );
}
