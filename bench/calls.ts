import { median, printComparison, printFigure, say } from './figures.ts';
import { LoadGenerator } from './load/generator.ts';
import type { CallLoad, CallResult } from './load/protocol.ts';
import type { TrafficOptions } from './messages.ts';
import { findNats, onLmdb, onRedis, onRedisEverySecond, type Running, relay, startNats } from './subjects.ts';

interface CallSubject {
  name: string;
  carrier: CallLoad['carrier'];
  register: boolean;
  start(): Promise<Running>;
}

const bench = 'call';
const OVER_RELAY = 2;

interface Sample extends CallResult {
  /** Of the server, for each call. */
  serverUs: number;
}

async function measure(subject: CallSubject, options: TrafficOptions, rate: number): Promise<Sample> {
  const server = await subject.start();
  const generator = new LoadGenerator();
  try {
    const { pairs, payload, warmup, seconds } = options;
    const result = await generator.calls({
      carrier: subject.carrier,
      address: server.address,
      pairs,
      register: subject.register,
      payloadBytes: payload,
      ratePerSecond: rate,
      warmupMs: warmup * 1000,
      durationMs: seconds * 1000,
      watch: [server.pid],
    });
    return { ...result, serverUs: (result.cpuUs[0] ?? Number.NaN) / result.answered };
  } finally {
    await generator.close();
    await server.stop();
  }
}

/** Returns whether every target was reached and nothing was left out. */
export async function calls(options: TrafficOptions): Promise<boolean> {
  const { pairs, rate, rounds } = options;
  say(`call: ${pairs} callers, at ${rate}/s and as fast as they go, ${rounds} rounds`);
  const nats = findNats();
  if (nats === undefined) say('not run: 1 subject (NATS is not installed: apt-get install nats-server)');
  const onSessions = [relay, onLmdb, onRedis, onRedisEverySecond].map((subject) => ({
    ...subject,
    carrier: 'session' as const,
  }));
  const subjects: CallSubject[] = [
    ...onSessions,
    ...(nats === undefined
      ? []
      : [
          {
            // Nothing is stored: what a call costs where nobody looks after it.
            name: 'NATS request',
            carrier: 'nats' as const,
            register: false,
            start: () => startNats(nats),
          },
        ]),
  ].filter(({ name }) => options.only.length === 0 || options.only.some((part) => name.includes(part)));
  const paced = new Map<string, Sample[]>();
  const saturated = new Map<string, Sample[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const subject of subjects) {
      const slow = await measure(subject, options, rate);
      const fast = await measure(subject, options, 0);
      paced.set(subject.name, [...(paced.get(subject.name) ?? []), slow]);
      saturated.set(subject.name, [...(saturated.get(subject.name) ?? []), fast]);
      say(
        `  round ${round}/${rounds} ${subject.name}: ${slow.times.p50Ms.toFixed(2)} ms at ${rate}/s; ` +
          `${(fast.answered / (fast.elapsedMs / 1000)).toFixed(0)}/s, ${fast.serverUs.toFixed(0)} us`,
      );
    }
  }
  const p50 = new Map<string, number>();
  for (const { name } of subjects) {
    const figure = (metric: string, value: number, unit: string): void =>
      printFigure({ bench, metric, subject: name, value, unit });
    const slow = paced.get(name) ?? [];
    const fast = saturated.get(name) ?? [];
    p50.set(name, median(slow.map(({ times }) => times.p50Ms)));
    figure('p50', p50.get(name) ?? Number.NaN, 'ms');
    figure('p99', median(slow.map(({ times }) => times.p99Ms)), 'ms');
    figure('saturated', median(fast.map(({ answered, elapsedMs }) => answered / (elapsedMs / 1000))), '1/s');
    figure('saturated_p50', median(fast.map(({ times }) => times.p50Ms)), 'ms');
    figure('cpu_per_call', median(fast.map((sample) => sample.serverUs)), 'us');
  }
  const [ours, bare] = [p50.get(onLmdb.name), p50.get(relay.name)];
  if (ours === undefined || bare === undefined) return false;
  const met = ours / bare <= OVER_RELAY;
  printComparison({
    bench,
    metric: 'p50',
    subject: onLmdb.name,
    against: relay.name,
    value: ours / bare,
    limit: OVER_RELAY,
    met,
  });
  return met && nats !== undefined;
}
