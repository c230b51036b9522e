import { median, printComparison, printFigure, say } from './figures.ts';
import { type Layout, measure, type Sample } from './heartbeat.ts';
import { openFileLimit } from './process-stats.ts';
import { onLmdb, onLmdbWith, type Subject } from './subjects.ts';

export interface MonitoringOptions {
  agents: number;
  /** Measurements of each subject, interleaved; the medians count. */
  rounds: number;
  settleMs: number;
  windowMs: number;
}

const bench = 'monitoring';
/** What monitoring may make a heartbeat cost, as a multiple of what it costs without. */
const cpuOverWithout = 1.15;

const without = onLmdbWith('without monitoring', {
  ORCHESTRATOR_CAPABILITIES: 'system_coordination,agent_management,resource_management',
});
const withAll: Subject = { ...onLmdb, name: 'with monitoring' };

/** Returns whether the target was reached. */
export async function monitoring(options: MonitoringOptions): Promise<boolean> {
  const { agents, rounds } = options;
  if (openFileLimit() < agents + 200) {
    say(
      `not run: ${agents} connections need a higher limit of open files than ${openFileLimit()} (ulimit -n)`,
    );
    return false;
  }
  const layout: Layout = { name: `${agents}x1`, connections: agents, agentsPerConnection: 1 };
  say(`monitoring: ${agents} agents, one round trip a second, ${rounds} rounds`);
  const samples = new Map<Subject, Sample[]>([
    [without, []],
    [withAll, []],
  ]);
  for (let round = 0; round < rounds; round += 1) {
    // In turns which goes first, so that a machine whose speed drifts treats both alike.
    const turn = round % 2 === 0 ? [without, withAll] : [withAll, without];
    for (const subject of turn) {
      const sample = await measure(subject, layout, options);
      samples.get(subject)?.push(sample);
      const { cpuUsPerHeartbeat: cpu, rssBytesPerAgent: rss } = sample;
      say(
        `  round ${round + 1}/${rounds} ${subject.name}: ${cpu.toFixed(1)} us, ${(rss / 1024).toFixed(1)} KB an agent`,
      );
    }
  }
  const of = (subject: Subject, pick: (sample: Sample) => number) =>
    median((samples.get(subject) ?? []).map(pick));
  for (const subject of [without, withAll]) {
    const figure = (metric: string, value: number, unit: string) =>
      printFigure({ bench, metric, subject: subject.name, value, unit });
    figure(
      'cpu_per_heartbeat',
      of(subject, (sample) => sample.cpuUsPerHeartbeat),
      'us',
    );
    figure('rss_per_agent', of(subject, (sample) => sample.rssBytesPerAgent) / 1024, 'KB');
    figure(
      'rate',
      of(subject, (sample) => sample.heartbeatsPerSecond),
      'heartbeats/s',
    );
  }
  const cpu = (subject: Subject) => of(subject, (sample) => sample.cpuUsPerHeartbeat);
  const value = cpu(withAll) / cpu(without);
  const met = value <= cpuOverWithout;
  printComparison({
    ...{ bench, metric: 'cpu_ratio', subject: withAll.name, against: without.name },
    ...{ value, limit: cpuOverWithout, met },
  });
  return met;
}
