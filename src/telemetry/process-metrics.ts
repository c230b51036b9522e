import { readdir } from 'node:fs/promises';
import type { Meter } from '@opentelemetry/api';
import { ATTR, METRIC } from './names.ts';

/** CPU, memory, open files and age of the process, read at each collection. */
export function measureProcess(meter: Meter, version: string): void {
  const gauge = (name: string, description: string, unit: string, read: () => number) =>
    meter.createObservableGauge(name, { description, unit }).addCallback((result) => result.observe(read()));
  const startSeconds = Date.now() / 1_000 - process.uptime();

  meter
    .createObservableCounter(METRIC.cpuTime, { description: 'CPU time used, user and system.', unit: 's' })
    .addCallback((result) => {
      const { user, system } = process.cpuUsage();
      result.observe((user + system) / 1e6);
    });
  gauge(METRIC.memory, 'Resident memory.', 'By', () => process.memoryUsage.rss());
  gauge(METRIC.uptime, 'Age of the process.', 's', () => process.uptime());
  gauge(METRIC.startTime, 'When the process started, since the Unix epoch.', 's', () => startSeconds);
  meter
    .createObservableGauge(METRIC.openFiles, {
      description: 'Open file descriptors, sockets included.',
      unit: '{file_descriptor}',
    })
    .addCallback(async (result) => {
      // Absent where there is no /proc.
      const open = await readdir('/proc/self/fd').catch(() => undefined);
      if (open !== undefined) result.observe(open.length);
    });
  meter
    .createObservableGauge(METRIC.buildInfo, { description: 'Always 1; the version is in the label.' })
    .addCallback((result) => result.observe(1, { [ATTR.version]: version }));
}
