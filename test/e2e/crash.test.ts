import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SystemStatus_State } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type Clients, connectClients } from '../support/clients.ts';
import { Stack, type StoreKind } from '../support/stack.ts';
import { until } from '../support/until.ts';

/** CI plays five rounds of each; `CRASH_ROUNDS=20 npx vitest run --project servers test/e2e/crash.test.ts` all. */
const rounds = Number(process.env.CRASH_ROUNDS ?? 5);
const agentsARound = 1000;
const inFlight = 100;
const connections = 4;

interface Acknowledged {
  id: string;
  uid: string;
  revision: bigint;
}

/** A Lehmer generator: the point of each crash is random but the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** Registers `ids` until all are through or the victim is killed, and returns what was acknowledged. */
async function registerUntil(
  address: string,
  ids: readonly string[],
  crashAfter: number,
  crash: () => void,
): Promise<Acknowledged[]> {
  const clients = Array.from({ length: connections }, () => connectClients(address));
  const acknowledged: Acknowledged[] = [];
  let next = 0;
  let crashed = false;
  const lane = async (client: Clients) => {
    for (let id = ids[next++]; id !== undefined && !crashed; id = ids[next++]) {
      try {
        const { agent } = await client.agents.registerAgent(
          { agentId: id, requestId: id },
          { timeoutMs: 5000 },
        );
        acknowledged.push({ id, uid: agent?.uid ?? '', revision: agent?.revision ?? 0n });
      } catch {
        // Not acknowledged: it may be there or not.
      }
      if (acknowledged.length >= crashAfter && !crashed) {
        crashed = true;
        crash();
      }
    }
  };
  const lanes = Array.from({ length: inFlight }, (_, i) => lane(clients[i % connections] as Clients));
  await Promise.all(lanes);
  for (const client of clients) client.close();
  return acknowledged;
}

/** All that are listed once the replica has seen a revision: its view may come back later than its commits. */
async function everyAgent(clients: Clients, minRevision: bigint): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  let pageToken = '';
  do {
    const page = await clients.agents.listAgents({ pageSize: 1000, pageToken, minRevision });
    for (const agent of page.agents) found.set(agent.id, agent.uid);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return found;
}

const scenarios: { victim: 'the service' | 'Redis'; kind: StoreKind }[] = [
  { victim: 'the service', kind: 'lmdb' },
  { victim: 'the service', kind: 'redis' },
  { victim: 'Redis', kind: 'redis' },
];

describe.each(scenarios)('SIGKILL of $victim on $kind while agents register', ({ victim, kind }) => {
  it(
    `loses no acknowledged registration in ${rounds} rounds of ${agentsARound}`,
    async () => {
      const random = seeded(20_24 + scenarios.findIndex((s) => s.victim === victim && s.kind === kind));
      const stack = await Stack.start(kind, { redis: { appendfsync: 'always' } });
      const kept: Acknowledged[] = [];
      try {
        for (let round = 0; round < rounds; round++) {
          const ids = Array.from(
            { length: agentsARound },
            (_, i) => `r${round}-${i}-${randomUUID().slice(0, 8)}`,
          );
          const crashAfter = Math.floor(agentsARound * (0.1 + 0.8 * random()));
          let killed: Promise<unknown> = Promise.resolve();
          const acknowledged = await registerUntil(stack.service.grpc, ids, crashAfter, () => {
            killed =
              victim === 'Redis' ? (stack.redis?.kill('SIGKILL') ?? killed) : stack.service.kill('SIGKILL');
          });
          await killed;
          expect(acknowledged.length).toBeGreaterThanOrEqual(crashAfter);
          kept.push(...acknowledged);
          if (victim === 'Redis') await stack.redis?.restart();
          else await stack.restart();
          await until(
            async () => (await stack.clients.monitoring.getSystemStatus({})).status,
            (status) => status?.store?.available === true && status.state !== SystemStatus_State.CRITICAL,
            { what: 'the store to be back', timeoutMs: 30_000 },
          );
          let newest = 0n;
          for (const { revision } of kept) if (revision > newest) newest = revision;
          const found = await everyAgent(stack.clients, newest);
          const missing = kept.filter(({ id, uid }) => found.get(id) !== uid);
          expect(missing, `round ${round + 1}: ${missing.length} of ${kept.length} are missing`).toEqual([]);

          // What was not acknowledged may be repeated with its request_id: then each is there once.
          const others = ids.filter((id) => !acknowledged.some((known) => known.id === id)).slice(0, 50);
          const repeated = await registerUntil(
            stack.service.grpc,
            others,
            Number.POSITIVE_INFINITY,
            () => {},
          );
          expect(repeated).toHaveLength(others.length);
          for (const { id, uid } of repeated) expect([undefined, uid]).toContain(found.get(id));
          kept.push(...repeated);
        }
        const revisions = kept.map(({ revision }) => revision);
        if (victim === 'the service') expect(new Set(revisions).size).toBe(revisions.length);
        const somebody = kept[0];
        const agent = await stack.clients.agents.getAgent({ agentId: somebody?.id ?? '' });
        expect(agent.agent?.uid).toBe(somebody?.uid);
      } finally {
        await stack.dispose();
      }
    },
    30_000 + rounds * 20_000,
  );
});
