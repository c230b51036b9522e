import { systemClock } from '../../src/lib/clock.ts';
import { EventLoopMonitor } from '../../src/lib/event-loop.ts';
import type { Instruments } from '../../src/telemetry/instruments.ts';

/** Has every metric measured something, so that /metrics tells it. */
export function useEveryMetric(instruments: Instruments): void {
  instruments.rpcFinished({ service: 'p.S', method: 'Get', code: 'OK', elapsedMs: 3, listener: 'connect' });
  instruments.heartbeat(80);
  instruments.heartbeat(0.4);
  instruments.heartbeat(45_000);
  instruments.missedPing();
  instruments.sessionOpened();
  instruments.sessionClosed('left');
  instruments.sessionCutOff('slow');
  instruments.verdict('suspect');
  instruments.delivery('succeeded', 'task', 12);
  instruments.message('sent', 3);
  instruments.taskAssigned(40);
  instruments.taskEnded('succeeded', 1_500);
  instruments.observeTasks(() => [['pending', 5]]);
  instruments.sinkTried('webhook', 'sent');
  instruments.connectionRejected('too_many');
  instruments.storeOperation({ name: 'commit', elapsedMs: 0.2, outcome: 'committed' }, 'lmdb');
  instruments.storeOperation({ name: 'commit', elapsedMs: 900, outcome: 'StoreUnavailableError' }, 'redis');
  instruments.observeRpcInFlight(() => 4);
  instruments.observeSessions(() => 17);
  instruments.observeWatches(() => 2);
  instruments.observeAgents(() => [
    ['answering', 12],
    ['lost', 1],
  ]);
  instruments.observeFigures(() => [
    { metric: 'system_load', resource: '', value: 0.5 },
    { metric: 'agent_health', resource: '', value: undefined },
    { metric: 'agent_health', resource: '', value: 0.9 },
    { metric: 'resource_usage', resource: 'gpu', value: 0.25 },
    { metric: 'communication_latency', resource: '', value: 120 },
    { metric: 'constructor', resource: '', value: 1 },
  ]);
  instruments.observeAlerts(() => [['firing', 'critical', 2]]);
  instruments.observeServices(() => [['llm', false]]);
  instruments.observeStore(() => ({ kind: 'redis', available: false }));
  instruments.observeEventLoop(new EventLoopMonitor({ clock: systemClock }));
}
