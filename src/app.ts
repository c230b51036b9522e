import { fileURLToPath } from 'node:url';
import type { Config } from './config/config.ts';
import { describeConfig } from './config/describe.ts';
import { PollSessions } from './domain/agent/poll-sessions.ts';
import type { SessionProtocolOptions } from './domain/agent/session-ports.ts';
import { TELL_REFUSALS_MS } from './domain/coordination/links/refusals.ts';
import { EventLog } from './domain/monitoring/event-log.ts';
import { REPLICA_BEAT_MS, Replicas } from './domain/monitoring/replicas.ts';
import { SystemStatusReader } from './domain/monitoring/status.ts';
import { namespaceOf } from './domain/namespaces.ts';
import { validateFrame } from './domain/validation/frames.ts';
import { validateRequest } from './domain/validation/requests.ts';
import { createFleet } from './fleet.ts';
import { startHttpListener } from './http/server.ts';
import { loadWebAssets } from './http/web-assets.ts';
import { Background } from './lib/background.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { CloseStack } from './lib/close-stack.ts';
import { EventLoopMonitor } from './lib/event-loop.ts';
import { every } from './lib/every.ts';
import { type Ids, systemIds } from './lib/ids.ts';
import { RollingP99 } from './lib/rolling-p99.ts';
import { useNodeTextEncoding } from './lib/text-encoding.ts';
import { packageVersion } from './lib/version.ts';
import { createLive } from './live.ts';
import { createMonitoring } from './monitoring.ts';
import { observeMonitoring } from './monitoring-gauges.ts';
import { createAgentService } from './rpc/agent-service.ts';
import { createAlertService } from './rpc/alert-service.ts';
import { callerOf } from './rpc/caller.ts';
import { ErrorMapper } from './rpc/errors.ts';
import { createFleetOperationService } from './rpc/fleet-operation-service.ts';
import { startGrpcListener } from './rpc/grpc.ts';
import { createHealth } from './rpc/health.ts';
import { createLockService } from './rpc/lock-service.ts';
import { createMessageService } from './rpc/message-service.ts';
import { gateServices } from './rpc/method-gate.ts';
import { createMonitoringService } from './rpc/monitoring-service.ts';
import { Pipeline } from './rpc/pipeline.ts';
import { createReflection } from './rpc/reflection.ts';
import { createResourceService } from './rpc/resource-service.ts';
import { createSessionService } from './rpc/session-service.ts';
import { createStateService } from './rpc/state-service.ts';
import { createTaskService } from './rpc/task-service.ts';
import { openStores, unlessStoreAway } from './stores.ts';
import { createRpcObserver } from './telemetry/rpc-observer.ts';
import { traceStore } from './telemetry/store-observer.ts';
import { startTelemetry, type Telemetry } from './telemetry/telemetry.ts';

export interface AppOverrides {
  clock?: Clock;
  ids?: Ids;
  /** Instead of telemetry of its own; closed by whoever started it. */
  telemetry?: Telemetry;
  env?: NodeJS.ProcessEnv;
  /** Where the built dashboard is. */
  webDirectory?: string;
}

export interface RunningApp {
  /** "host:port" of each listener. */
  grpc: string;
  http: string;
  /** Where the agents are kept, and what an acknowledgement is worth. */
  store: string;
  durability: string;
  /** Not ready, goaway to every session, drain, close in reverse; bounded by `shutdown.timeout`. Idempotent. */
  close(): Promise<void>;
}

export interface App {
  /** @throws StoreOpenError, ListenError: one clear line for the operator; whatever was opened is closed again. */
  start(): Promise<RunningApp>;
}

const CARE_MS = 1000;
/** How often tasks that wait for a time are looked at. */
const SCHEDULE_MS = 100;
const TRIM_MS = 60_000;
/** How often the store's clock is asked for, so that both need not agree. */
const STORE_TIME_MS = 5000;

/** The composition root: builds the service from its configuration; nothing runs before `start`. */
export function createApp(
  config: Config,
  sources: Record<string, string> = {},
  overrides: AppOverrides = {},
): App {
  return { start: () => start(config, sources, overrides) };
}

async function start(
  config: Config,
  sources: Record<string, string>,
  overrides: AppOverrides,
): Promise<RunningApp> {
  useNodeTextEncoding();
  const clock = overrides.clock ?? systemClock;
  const ids = overrides.ids ?? systemIds;
  const version = packageVersion();
  const closing = new CloseStack();
  const telemetry =
    overrides.telemetry ?? startTelemetry({ config, version, env: overrides.env ?? process.env });
  if (overrides.telemetry === undefined) closing.push('telemetry', () => telemetry.shutdown());
  const { log, instruments } = telemetry;
  const onCloseError = (name: string, error: unknown): void =>
    log.error({ part: name, err: error }, 'close failed');
  try {
    const loop = new EventLoopMonitor({ clock });
    loop.start();
    closing.push('event loop monitor', () => loop.stop());
    const background = new Background({ log });
    const commits = new RollingP99({ clock });
    const stores = await openStores({
      config,
      clock,
      log,
      closing,
      onOperation: (operation, kind, role) => {
        // History is written in large pieces, for which nobody waits.
        if (operation.name === 'commit' && role !== 'monitoring') commits.add(operation.elapsedMs);
        instruments.storeOperation(operation, kind);
      },
    });
    const store = traceStore(stores.agents, telemetry.tracer);
    const replicas: Replicas = new Replicas({
      store: stores.system,
      clock,
      log,
      replicaId: config.id,
      maxPingsPerSecond: config.session.maxPingsPerSecond,
      version,
      stallMs: (fromMs, toMs) => loop.stallMs(fromMs, toMs),
      read: () => {
        const reading = loop.reading();
        return {
          sessions: fleet.sessions.size,
          eventLoopDelayP99Ms: reading.delayP99Ms,
          eventLoopDelayMaxMs: reading.delayMaxMs,
          cpuCores: reading.cpuCores,
          memoryBytes: reading.rssBytes,
          pingIntervalMs: fleet.pacing().intervalMs,
          draining: state === 'leaving',
          commitP99Ms: commits.value(),
          heartbeatsRate: monitoring.figures.heartbeatsRate(),
        };
      },
    });
    const fleet = createFleet({
      config,
      store,
      clock,
      ids,
      log,
      background,
      loop,
      metrics: instruments,
      tracing: telemetry.tracer.messages,
      replicaAlive: (id) => replicas.isAlive(id),
      shares: () => replicas.shares(),
    });
    let state: 'starting' | 'ready' | 'leaving' = 'starting';

    const events = new EventLog({ store, views: fleet.views, retentionMs: config.events.retentionMs });
    const web = loadWebAssets(overrides.webDirectory ?? WEB_DIRECTORY);
    const monitoring = createMonitoring({
      ...{ config, stores, store, fleet, replicas, events, clock, ids, log, background, loop, version },
      metrics: instruments,
      env: overrides.env ?? process.env,
      exporters: telemetry.exporters,
      dashboards: {
        built: () => web !== undefined,
        watches: () => ({ open: pipeline.limits.watches, most: config.limits.maxWatches }),
      },
    });

    await fleet.views.start();
    closing.push('views', () => fleet.views.stop());
    closing.push('background work', () => background.idle());
    for (const namespace of await store.namespaces()) await fleet.observations.load(namespace);
    const unfollow = await stores.system.follow({
      batch: () => {},
      snapshot: () => {},
      live: (records) => replicas.live(records),
    });
    closing.push('replicas', unfollow);
    // Before anybody attaches here: others take the agents of a replica that they have not heard of for orphans.
    await unlessStoreAway(() => replicas.beat())();
    await unlessStoreAway(async () => void (await fleet.storeTime.exact()))();
    fleet.wheel.start();
    closing.push('timing wheel', () => fleet.wheel.stop());
    closing.push('verdicts', () => fleet.verdicts.close());
    closing.push('process exits', () => fleet.exits.close());

    for (const [name, intervalMs, work] of [
      ['announce replica', REPLICA_BEAT_MS, () => replicas.beat()],
      ['flush observations', fleet.observations.intervalMs, () => fleet.observations.flush()],
      ['care', CARE_MS, () => fleet.care.tick().then(() => fleet.janitor.sweep())],
      ['store clock', STORE_TIME_MS, async () => void (await fleet.storeTime.exact())],
      ['trim events', TRIM_MS, () => events.trim()],
      ['schedule', SCHEDULE_MS, async () => fleet.tasks.scheduling.tick()],
      ['tell refusals', TELL_REFUSALS_MS, () => fleet.coordination.refusals.flush()],
    ] as const) {
      closing.push(name, every(background, name, intervalMs, unlessStoreAway(work)));
    }

    monitoring.start(closing);

    const mapper = new ErrorMapper({ log, ids });
    const pipeline = new Pipeline({
      observer: createRpcObserver({ tracer: telemetry.tracer, instruments }),
      mapper,
      log,
      clock,
      validate: validateRequest,
      limits: config.limits,
      drainTimeoutMs: config.session.drainTimeoutMs,
    });
    const protocol: SessionProtocolOptions = {
      sessions: fleet.sessions,
      deliveries: fleet.deliveries,
      messages: fleet.coordination.messages,
      background,
      validateFrame,
      wireError: (error) => {
        const { code, reason, message, retryAfterMs } = mapper.map(error, 'OpenSession');
        return { code, reason, detail: message, retryAfterMs };
      },
      replicaId: config.id,
      maxFrameBytes: config.limits.maxMessageBytes,
      reconnectGraceMs: config.session.reconnectGraceMs,
      pacing: fleet.pacing,
    };
    const polls = new PollSessions({
      protocol,
      clock,
      wheel: fleet.wheel,
      leaseMs: () => fleet.pacing().leaseMs,
    });
    const status = new SystemStatusReader({
      config,
      version,
      clock,
      store,
      figures: monitoring.figures.figures,
      analysedMs: () => monitoring.figures.analysedMs(),
      verdicts: fleet.verdicts,
      outlook: fleet.outlook,
      mailboxes: fleet.mailboxes,
      directory: fleet.directory,
      replicas,
      commitP99Ms: () => commits.value(),
      services: () => monitoring.services.statuses(),
      sinks: () => monitoring.sinks.status(),
      alerts: (namespace) => monitoring.alerting.present.counts(namespace),
    });
    const { live, topology } = createLive({
      ...{ replicaId: config.id, clock, log, fleet, events, alerting: monitoring.alerting },
      status: (namespace) => status.read(namespace),
    });
    const described = describeConfig(config, sources);
    const gated = gateServices(config.capabilities, {
      agent_management: [
        createAgentService({
          agents: fleet.agents,
          orders: fleet.orders,
          automation: fleet.automation,
          reader: fleet.reader,
          sessions: fleet.sessions,
          views: fleet.views,
          watch: { ...fleet },
          explain: { ...fleet },
          exits: fleet.exits,
        }),
        createSessionService({
          protocol,
          polls,
          clock,
          wheel: fleet.wheel,
          helloTimeoutMs: config.grpc.helloTimeoutMs,
          windowBytes: config.session.outboundWindowBytes,
        }),
      ],
      system_coordination: [
        createStateService({
          state: fleet.coordination.state,
          watch: { store, storeTime: fleet.storeTime, views: fleet.views },
        }),
        createLockService({ locks: fleet.coordination.locks }),
        createFleetOperationService({ ...fleet.coordination.operations, store, views: fleet.views }),
        createMessageService(fleet.coordination),
        createTaskService({ ...fleet.tasks, views: fleet.views }),
      ],
      resource_management: [createResourceService({ ...fleet.resources, views: fleet.views })],
      monitoring: [
        createMonitoringService({
          status,
          events,
          live,
          topology,
          diagnosis: monitoring.diagnosis,
          history: monitoring.history.query,
          reports: monitoring.reports,
          config: described,
          updateIntervalMs: config.updateIntervalMs,
        }),
        createAlertService(monitoring.alerting),
      ],
    });
    const health = createHealth(gated);
    const services = [...gated, health.binding, ...createReflection([...gated, health.binding])];
    const listening = {
      services,
      pipeline,
      log,
      maxMessageBytes: config.limits.maxMessageBytes,
      drainTimeoutMs: config.session.drainTimeoutMs,
      onRejected: (reason: string) => instruments.connectionRejected(reason),
    };

    instruments.observeSessions(() => fleet.sessions.size);
    instruments.observeRpcInFlight(() => pipeline.active);
    instruments.observeWatches(() => pipeline.limits.watches);
    instruments.observeStore(() => store.status());
    instruments.observeEventLoop(loop);
    instruments.observeTasks(() => fleet.tasks.view.openCounts());
    instruments.observeAgents(() => fleet.directory.livenessCounts());
    observeMonitoring({
      instruments,
      readings: () => monitoring.figures.figures.readings(undefined),
      alerts: () => monitoring.alerting.present.counts(undefined),
      services: () => monitoring.services.statuses(),
    });

    // An agent that vanished leaves its connection without a call once it is LOST.
    const maxConnectionIdleMs = config.session.leaseMs;
    const grpc = await startGrpcListener({ ...listening, config: config.grpc, maxConnectionIdleMs });
    closing.push('gRPC listener', () => grpc.close({ graceMs: GRACE_MS }));
    const http = await startHttpListener({
      ...listening,
      config: config.http,
      maxStreamsPerConnection: config.grpc.maxStreamsPerConnection,
      pages: {
        name: config.name,
        version,
        web,
        metrics: async () => ({ contentType: PROMETHEUS, body: await telemetry.renderMetrics() }),
        readiness: () => ({ ready: state === 'ready', parts: { state } }),
        ...(config.capabilities.includes('monitoring')
          ? { status: { validate: validateRequest, read: (namespace) => status.read(namespace) } }
          : {}),
      },
      events: {
        validate: validateRequest,
        send: (request, context, trace) => {
          const { send, sessionEpoch } = request;
          if (send === undefined) throw new Error('an event without its message passed validation');
          const how = { caller: callerOf(context), sessionEpoch, ...(trace === undefined ? {} : { trace }) };
          return fleet.coordination.messages.send(namespaceOf(request), send, how);
        },
      },
    });
    closing.push('HTTP listener', () => http.close({ graceMs: GRACE_MS }));
    state = 'ready';
    health.setServing(true);

    let closed: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      state = 'leaving';
      health.setServing(false);
      log.info({ sessions: fleet.sessions.size }, 'leaving: sending agents away');
      await monitoring.leave(onCloseError);
      await fleet.observations.flushAll().catch((error: unknown) => onCloseError('observations', error));
      await fleet.tasks.scheduling.leave().catch((error: unknown) => onCloseError('leases', error));
      await fleet.care.leave().catch((error: unknown) => onCloseError('leases', error));
      await fleet.sessions.leave(config.shutdown.spreadMs);
      await replicas.leave().catch((error: unknown) => onCloseError('replica record', error));
      // Side by side: each may take the grace for its own calls.
      await Promise.all([grpc.close({ graceMs: GRACE_MS }), http.close({ graceMs: GRACE_MS })]);
      await closing.close(onCloseError);
    };
    return {
      grpc: addressOf(grpc.address),
      http: addressOf(http.address),
      store: store.status().kind,
      durability: store.status().durability,
      close: () => (closed ??= close()),
    };
  } catch (error) {
    await closing.close(onCloseError);
    throw error;
  }
}

/** The build puts the dashboard beside the compiled service; run from its sources, it has what was built last. */
const WEB_DIRECTORY = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../dist/web/' : '../web/', import.meta.url),
);

/** The text format of Prometheus. */
const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';

/** How long calls under way may take when the service leaves. */
const GRACE_MS = 2000;

const addressOf = ({ host, port }: { host: string; port: number }): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
