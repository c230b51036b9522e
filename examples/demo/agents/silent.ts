import { setTimeout as sleep } from 'node:timers/promises';
import { openLink } from '../link.ts';
import { labels, live, pause, type Simulation } from '../simulation.ts';

/** Agents whose link goes silent without closing: only unanswered pings tell. */
export const silent: readonly Simulation[] = [
  freezing('hiccup-1', 'SUSPECT for a while: two probes unanswered, then answers again', 20, 14),
  freezing('halfopen-1', 'half-open: SUSPECT, then LOST at the lease, although no connection closed', 25, 60),
];

function freezing(id: string, shows: string, openSeconds: number, frozenSeconds: number): Simulation {
  return {
    id,
    shows,
    run: async (world) => {
      const link = await openLink({ target: world.server });
      const spec = { kind: 'mobile', labels: labels({ link: 'radio' }), capabilities: [{ name: 'sense' }] };
      try {
        await live(world, id, { server: link.address, spec, backoffCapMs: 2_000 }, async (agent) => {
          while (!world.stop.aborted) {
            world.say(`link open for ${openSeconds} s`);
            await pause(openSeconds, world);
            if (world.stop.aborted) return;
            link.freeze(true);
            world.say(`link silent for ${frozenSeconds} s`);
            await pause(frozenSeconds, world);
            link.freeze(false);
          }
          for (let tries = 0; agent.state !== 'connected' && tries < 50; tries++) await sleep(100);
        });
      } finally {
        link.close();
      }
    },
  };
}
