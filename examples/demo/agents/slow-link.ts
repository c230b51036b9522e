import { openLink } from '../link.ts';
import { labels, live, type Simulation, untilStop } from '../simulation.ts';

/** Agents behind slow links: healthy, but their round trips show the distance. */
export const slowLink: readonly Simulation[] = [
  far('far-1', 'healthy over a slow link: round trip about 80 ms', () => 40),
  far('far-2', 'healthy over a shaky link: round trip 100 to 500 ms', () => 50 + Math.random() * 200),
];

function far(id: string, shows: string, delayMs: () => number): Simulation {
  return {
    id,
    shows,
    run: async (world) => {
      const link = await openLink({ target: world.server, delayMs });
      const spec = { kind: 'edge', labels: labels({ link: 'satellite' }), capabilities: [{ name: 'sense' }] };
      try {
        await live(world, id, { server: link.address, spec, report: () => ({ load: 0.1 }) }, async () => {
          world.say('answers as soon as a ping arrives');
          await untilStop(world);
        });
      } finally {
        link.close();
      }
    },
  };
}
