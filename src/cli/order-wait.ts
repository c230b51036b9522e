import type { Agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentChange_Type,
  type WatchAgentsResponse,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Context } from './context.ts';
import { answeredAtMs } from './output/freshness.ts';
import type { Standing } from './output/standing.ts';
import { bad, plain } from './output/text.ts';
import { runWatch, watchNotices } from './watch.ts';

export interface WaitOptions {
  context: Context;
  /** Agents as the answers to their orders showed them. */
  ordered: ReadonlyMap<string, Agent>;
  standing(agent: Agent, nowMs: number): Standing;
  /** It goes on, and there is something new to tell. */
  progress(agentId: string, standing: Standing): void;
  /** Nothing more follows. */
  ended(agentId: string, standing: Standing, agent: Agent): void;
  /** The longest that this may take, milliseconds; undefined: until all have ended. */
  longestMs: number | undefined;
}

interface Awaited {
  /** Older news are of before the order. */
  revision: bigint;
  agent: Agent;
  step: string;
}

/** Follows agents until their orders have ended. Resolves to those that have not, because of Ctrl-C or the time. */
export async function awaitOrders(options: WaitOptions): Promise<ReadonlyMap<string, Agent>> {
  const { context } = options;
  const awaited = new Map<string, Awaited>();
  for (const [id, agent] of options.ordered) consider(id, { revision: agent.revision, agent, step: '' });
  /** Who has not come yet in a snapshot that is under way. */
  let unseen = new Set(awaited.keys());

  function consider(id: string, before: Awaited): void {
    const { agent } = before;
    const standing = options.standing(agent, answeredAtMs(agent, Date.now()));
    if (standing.ended) {
      awaited.delete(id);
      options.ended(id, standing, agent);
      return;
    }
    if (before.step !== '' && before.step !== standing.step) options.progress(id, standing);
    awaited.set(id, { ...before, step: standing.step });
  }

  function removed(id: string, agent: Agent): void {
    awaited.delete(id);
    const words = [bad('gone'), plain(': it was deregistered meanwhile')];
    options.ended(id, { ended: true, ok: false, words, step: '' }, agent);
  }

  function receive({ changes, synced }: WatchAgentsResponse): void {
    for (const { type, agent } of changes) {
      const known = agent === undefined ? undefined : awaited.get(agent.id);
      if (agent === undefined || known === undefined) continue;
      unseen.delete(agent.id);
      if (agent.revision < known.revision) continue;
      if (type === AgentChange_Type.REMOVED) removed(agent.id, known.agent);
      else consider(agent.id, { ...known, agent });
    }
    if (synced) {
      for (const id of unseen) {
        const known = awaited.get(id);
        if (known !== undefined) removed(id, known.agent);
      }
      unseen.clear();
    }
    if (awaited.size === 0) over.abort();
  }

  const over = new AbortController();
  const timer =
    options.longestMs === undefined ? undefined : setTimeout(() => over.abort(), options.longestMs);
  try {
    if (awaited.size > 0) {
      const { connection, namespace } = context;
      await runWatch<WatchAgentsResponse>({
        open: (cursor, stop) => connection.agents.watchAgents({ namespace, cursor }, { signal: stop }),
        cursorOf: ({ cursor }) => cursor,
        receive,
        ...watchNotices(context),
        anew: () => {
          unseen = new Set(awaited.keys());
        },
        // The store may have begun a new epoch, in which revisions begin again.
        restart: () => {
          for (const [id, known] of awaited) awaited.set(id, { ...known, revision: 0n });
        },
        signal: AbortSignal.any([context.signal, over.signal]),
        firstWithinMs: context.timeoutMs,
      });
    }
  } finally {
    clearTimeout(timer);
  }
  return new Map([...awaited].map(([id, { agent }]) => [id, agent]));
}
