// Some twenty simulated agents against a running service, so that a newcomer sees every state: npm run demo
import { setMaxListeners } from 'node:events';
import { createConnection } from 'node:net';
import { parseArgs } from 'node:util';
import { dying, flapping, leaving, unborn, visiting } from './agents/gone.ts';
import { overloaded } from './agents/overloaded.ts';
import { poller } from './agents/poller.ts';
import { silent } from './agents/silent.ts';
import { slowLink } from './agents/slow-link.ts';
import { steady } from './agents/steady.ts';
import { stuck } from './agents/stuck.ts';
import { twin } from './agents/twin.ts';
import { FleetView } from './fleet-view.ts';
import { pause, type Simulation, type World } from './simulation.ts';
import { type Row, render } from './table.ts';

const usage = `Usage: npm run demo -- [options]

Attaches simulated agents to a running orchestrator.

  --server <host:port>   its gRPC listener (default 127.0.0.1:50051)
  --http <url>           its HTTP listener (default http://127.0.0.1:50080)
  --namespace <name>     where the agents live (default "default")
  --duration <seconds>   end by itself (default: on Ctrl-C)`;

const fleet: readonly Simulation[] = [
  ...steady,
  ...slowLink,
  ...overloaded,
  stuck,
  flapping,
  dying,
  leaving,
  visiting,
  ...silent,
  twin,
  poller,
  unborn,
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      server: { type: 'string', default: '127.0.0.1:50051' },
      http: { type: 'string', default: 'http://127.0.0.1:50080' },
      namespace: { type: 'string', default: 'default' },
      duration: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const { server, http, namespace } = values;
  if (!(await reachable(server))) {
    console.error(`No orchestrator answers at ${server}. Start one in another shell: npm start`);
    return 1;
  }
  const ending = new AbortController();
  setMaxListeners(0, ending.signal); // each simulation waits on it
  const end = () => ending.abort();
  process.once('SIGINT', end).once('SIGTERM', end);
  const timer = values.duration === undefined ? undefined : setTimeout(end, Number(values.duration) * 1_000);

  const world: World = { server, http, namespace, stop: ending.signal, say: () => {} };
  const view = new FleetView();
  const rows: Row[] = fleet.map(({ id, shows }) => ({ id, shows, doing: 'starting', seen: undefined }));
  const showing = Promise.all([view.follow(world), show(world, rows, view)]);
  const running = fleet.map((simulation, index) => run(simulation, world, rows[index]));
  const outcomes = await Promise.all(running);
  end();
  clearTimeout(timer);
  await showing;
  const failed = outcomes.filter((failure) => failure !== undefined);
  for (const failure of failed) console.error(failure);
  console.log(
    failed.length === 0 ? 'All agents said goodbye.' : `${failed.length} agents ended with an error.`,
  );
  return failed.length === 0 ? 0 : 1;
}

/** Runs a simulation to the end of the demo; gives what went wrong, if something did. */
async function run(simulation: Simulation, world: World, row: Row | undefined): Promise<string | undefined> {
  const say = (doing: string) => {
    if (row !== undefined) row.doing = doing;
  };
  try {
    await simulation.run({ ...world, say });
    if (!world.stop.aborted) say('ended early');
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (!world.stop.aborted) {
      say(`failed: ${text}`);
      return `${simulation.id}: ${text}`;
    }
  }
  return undefined;
}

/** On a terminal the table is drawn anew each second; elsewhere, a line for each change of liveness. */
async function show(world: World, rows: readonly Row[], view: FleetView): Promise<void> {
  const began = performance.now();
  const before = new Map<string, string>();
  while (!world.stop.aborted) {
    for (const row of rows) row.seen = view.agents.get(row.id);
    const elapsed = (performance.now() - began) / 1_000;
    if (process.stdout.isTTY) {
      process.stdout.write(`\x1b[H\x1b[2J${render(rows, process.stdout.columns, elapsed).join('\n')}\n`);
    } else {
      for (const { id, seen, doing } of rows) {
        const liveness = seen?.liveness ?? (before.has(id) ? 'deregistered' : undefined);
        if (liveness === undefined || before.get(id) === liveness) continue;
        before.set(id, liveness);
        console.log(`${elapsed.toFixed(0).padStart(4)} s  ${id.padEnd(14)} ${liveness.padEnd(13)} ${doing}`);
      }
    }
    await pause(1, world);
  }
}

function reachable(server: string): Promise<boolean> {
  return new Promise((resolve) => {
    const colon = server.lastIndexOf(':');
    const socket = createConnection(Number(server.slice(colon + 1)), server.slice(0, colon));
    socket.setTimeout(3_000, () => socket.destroy());
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.end());
  });
}

process.exitCode = await main();
