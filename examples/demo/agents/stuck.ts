import { labels, live, pause, type Simulation } from '../simulation.ts';

/** Answers every ping and gets nothing done: connected, responsive, not progressing. */
export const stuck: Simulation = {
  id: 'stuck-1',
  shows: 'stuck but connected: answers pings, its counters stand still past the budget',
  run: (world) => {
    const spec = {
      kind: 'indexer',
      capabilities: [{ name: 'index' }],
      labels: labels(),
      activities: [{ name: 'indexing', progressBudget: { seconds: 5n } }],
    };
    return live(world, 'stuck-1', { spec }, async (agent) => {
      agent.report({ activity: 'indexing', load: 0.5 });
      while (!world.stop.aborted) {
        for (let documents = 0; documents < 10 && !world.stop.aborted; documents++) {
          agent.progress('documents', documents, 1_000);
          world.say(`indexing document ${documents}`);
          await pause(1, world);
        }
        world.say('stuck at document 9 for 40 s');
        await pause(40, world);
      }
    });
  },
};
