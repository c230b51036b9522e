import { describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { EventBook } from '../support/faults/event-book.ts';
import { seeded } from '../support/faults/random.ts';
import { FaultRig } from '../support/faults/rig.ts';
import { listAgents } from '../support/redis-outage.ts';
import { until } from '../support/until.ts';

/** The whole exercise: `REPLICA_DEATH_AGENTS=1000 npx vitest run --project servers test/e2e/replica-death.test.ts`. */
const count = Number(process.env.REPLICA_DEATH_AGENTS ?? 300);
/** Agents of the dead replica that do not come back: somebody has to judge them, and only one. */
const QUITTERS = 5;
const HEALTHY = 0.9;
const BACK_MS = 15_000;

const env = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '1s',
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '10s',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '3s',
};

describe(`SIGKILL of one of two replicas under ${count} agents`, () => {
  it(
    'has all attached to the other and healthy within 15 s, none lost, no epoch used twice and nothing judged by both',
    async () => {
      const rig = await FaultRig.start({ random: seeded(1), agents: count, leaseMs: 10_000, env });
      try {
        const [dead, alive] = rig.replicas;
        if (dead === undefined || alive === undefined) throw new Error('two replicas are needed');
        const orphans = rig.agents.filter(({ replicaId }) => replicaId === 'replica-0');
        expect(orphans.length).toBeGreaterThan(QUITTERS);
        const quitters = orphans.slice(0, QUITTERS);
        const others = rig.agents.filter((agent) => !quitters.includes(agent));
        dead.clients.close();
        const killedMs = performance.now();
        const gone = dead.service.kill('SIGKILL');
        for (const agent of quitters) agent.close();
        await gone;

        const back = async () => {
          const known = new Map((await listAgents(alive.clients)).map((agent) => [agent.id, agent]));
          return others.filter(({ id, epoch }) => {
            const { liveness, observation } = known.get(id) ?? {};
            const fresh = observation?.replicaId === 'replica-1' && observation.sessionEpoch === epoch;
            const healthy = (observation?.health?.score ?? 0) >= HEALTHY;
            return liveness !== Agent_Liveness.CONNECTED || !fresh || !healthy;
          }).length;
        };
        await until(back, (missing) => missing === 0, {
          what: 'everybody to be healthy at the other replica',
          timeoutMs: BACK_MS,
          everyMs: 200,
        });
        const tookMs = Math.round(performance.now() - killedMs);
        expect(tookMs).toBeLessThan(BACK_MS);

        // Its next life looks after what the one before left, and so does whoever takes over from the dead.
        await dead.service.restart();
        const events = new EventBook();
        const judged = async () => {
          await events.read(alive.clients);
          return quitters.map(({ id, records }) => {
            const epoch = records.sessions.at(-1)?.epoch ?? 0n;
            return (events.verdicts.get(`${id} ${epoch}`) ?? []).map(({ type }) => type).join(' ');
          });
        };
        const course = 'agent.connected agent.disconnected agent.lost';
        await until(judged, (courses) => courses.every((each) => each.includes('agent.lost')), {
          what: 'those who stayed away to be lost',
          timeoutMs: 30_000,
          everyMs: 200,
        });
        expect(await judged()).toEqual(quitters.map(() => course));
        expect(events.judgedTwice()).toEqual([]);
        const lost = [...events.verdicts].filter(([, all]) => all.some(({ type }) => type === 'agent.lost'));
        expect(lost.map(([whom]) => whom.split(' ')[0]).sort()).toEqual(quitters.map(({ id }) => id).sort());
        expect([
          ...rig.agents.flatMap(({ records }) => records.faults),
          ...(rig.reader?.faults ?? []),
        ]).toEqual([]);
        for (const { records } of rig.agents) {
          const epochs = records.sessions.map(({ epoch }) => epoch);
          expect(new Set(epochs).size).toBe(epochs.length);
        }
        if (process.env.REPLICA_DEATH_AGENTS !== undefined) {
          console.info(`${count} agents, ${orphans.length} of the dead: healthy after ${tookMs} ms`);
        }
      } finally {
        await rig.stop();
      }
    },
    120_000 + 100 * count,
  );
});
