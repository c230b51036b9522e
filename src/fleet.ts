import type { Config } from './config/config.ts';
import { createCoordination } from './coordination.ts';
import { Absences } from './domain/agent/absences.ts';
import { AgentReader, progressBudget } from './domain/agent/agent-reader.ts';
import { Agents } from './domain/agent/agents.ts';
import { Automation } from './domain/agent/automation.ts';
import { CareRecords } from './domain/agent/care/care-records.ts';
import { createCare } from './domain/agent/care/create-care.ts';
import type { LossHook } from './domain/agent/care/loss-hook.ts';
import { policyOf } from './domain/agent/care/policy.ts';
import { ProcessExits } from './domain/agent/care/process-exits.ts';
import { Troubles } from './domain/agent/care/troubles.ts';
import { AgentDirectory, type KnownAgent } from './domain/agent/directory.ts';
import { Janitor } from './domain/agent/janitor.ts';
import { matches, parseLabelSelector } from './domain/agent/label-selector.ts';
import { Observations } from './domain/agent/observations.ts';
import { OrderDeadlines } from './domain/agent/order-deadlines.ts';
import { ORDER_OUTCOMES } from './domain/agent/order-rules.ts';
import { Orders } from './domain/agent/orders.ts';
import { pacingFor } from './domain/agent/pacing.ts';
import { Rebalancing, type Shares } from './domain/agent/rebalancing.ts';
import { agentOf } from './domain/agent/record.ts';
import type { SessionContext, SessionMetrics } from './domain/agent/session-context.ts';
import { Sessions } from './domain/agent/sessions.ts';
import { fleetSilences } from './domain/agent/suspicion.ts';
import { VerdictWriter } from './domain/agent/verdict-writer.ts';
import { Deliveries, type DeliveriesOptions } from './domain/coordination/deliveries.ts';
import { DeliveryUpkeep } from './domain/coordination/delivery-upkeep.ts';
import type { LinkMetrics } from './domain/coordination/links/links.ts';
import { Mailboxes } from './domain/coordination/mailboxes.ts';
import type { MessageTracing } from './domain/coordination/messages/message-tracing.ts';
import { messageOutcome } from './domain/coordination/messages/replies.ts';
import { ExplainTask } from './domain/coordination/tasks/explain-task.ts';
import type { SchedulerMetrics } from './domain/coordination/tasks/scheduler-ports.ts';
import { EventWriter } from './domain/monitoring/events.ts';
import { validateSpec } from './domain/validation/agent-spec.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { EventLoopMonitor } from './lib/event-loop.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import { TimingWheel } from './lib/timing-wheel.ts';
import { createResources } from './resources.ts';
import { MergedCommits } from './state/merged-commits.ts';
import type { Store } from './state/store.ts';
import { StoreTime } from './state/store-time.ts';
import { Views } from './state/views.ts';
import { createTasks } from './tasks.ts';

export interface FleetOptions {
  config: Config;
  store: Store;
  clock: Clock;
  ids: Ids;
  log: Logger;
  background: Background;
  loop: EventLoopMonitor;
  metrics: SessionMetrics & DeliveriesOptions['metrics'] & LinkMetrics & SchedulerMetrics;
  /** Follows messages; undefined: nothing is traced. */
  tracing?: MessageTracing | undefined;
  replicaAlive(replicaId: string): boolean;
  /** The sessions of all replicas; undefined: this one is alone. */
  shares(): Shares | undefined;
  /** Take away what a lost agent had. */
  lossHooks?: readonly LossHook[];
}

/** Everything that looks after agents, wired together. */
export type Fleet = ReturnType<typeof createFleet>;

/** How long the views may take to show what was committed. */
const SEEN_MS = 2000;

/** Resolution of the timing wheel, and how far it reaches in one turn. */
const WHEEL = { tickMs: 20, slots: 512, stallMs: 200 };

export function createFleet(options: FleetOptions) {
  const { config, store, clock, ids, log, background, loop } = options;
  const replicaId = config.id;
  const wheel = new TimingWheel({
    clock,
    ...WHEEL,
    onStall: (stallMs) =>
      log.warn({ stall_ms: Math.round(stallMs) }, 'this process stood still; deadlines wait'),
    onError: (error) => log.error({ err: error }, 'a deadline failed'),
  });
  const directory = new AgentDirectory();
  const troubles = new Troubles({ directory });
  const mailboxes = new Mailboxes();
  const storeTime = new StoreTime({ store, clock });
  const merged = new MergedCommits({ store });
  const events = new EventWriter({ replicaId, wallMs: () => clock.wallMs() });
  const rebalancing = new Rebalancing({ clock, held: () => sessions.size, shares: () => options.shares() });
  const coordination = createCoordination({
    ...{ config, store, merged, storeTime, directory, mailboxes, events, clock, ids, background },
    seen: (namespace, revision) => views.waitFor(namespace, revision, SEEN_MS).catch(() => {}),
    health: (known) => observed.current?.of(known)?.health?.score,
    metrics: options.metrics,
    tracing: options.tracing,
  });
  const pacing = () => pacingFor(sessions.size, config.session);
  const context: SessionContext = {
    clock,
    wheel,
    config: config.session,
    replicaId,
    metrics: options.metrics,
    silences: fleetSilences(),
    self: {
      stallMs: (fromMs, toMs) => loop.stallMs(fromMs, toMs),
      eventLoopDelayMs: () => loop.eventLoopDelayMs(),
      storeAvailable: () => store.status().available,
    },
    pacing,
    mayMoveOn: () => rebalancing.take(),
    trouble: (namespace, agentId) => troubles.evidence(namespace, agentId),
    progressBudgetMs: (namespace, agentId, activity) => {
      const known = directory.get(namespace, agentId);
      const spec = known === undefined ? undefined : agentOf(known.record).spec;
      return progressBudget(spec, activity, config.session.progressBudgetMs);
    },
  };
  const observed: { current: Observations | undefined } = { current: undefined };
  const careRecords = new CareRecords();
  const tasks = createTasks({
    ...{ config, store, merged, storeTime, directory, mailboxes, events, clock, ids, background, log, wheel },
    ...{ careRecords, self: context.self, metrics: options.metrics, replicaAlive: options.replicaAlive },
    views: {
      waitFor: (...which) => views.waitFor(...which),
      position: (namespace) => views.position(namespace),
    },
    observed: (known) => observed.current?.of(known),
  });
  const views: Views = new Views({
    store,
    watchBuffer: config.limits.watchBuffer,
    views: [
      careRecords,
      directory,
      ...coordination.early,
      mailboxes,
      ...coordination.views,
      {
        reset: () => {},
        apply: (batch) => observed.current?.apply(batch),
        live: (records) => observed.current?.live(records),
      },
      ...tasks.views,
    ],
  });
  const resources = createResources({
    ...{ config, store, storeTime, views, directory, events, clock, ids, background, log },
    tasks: tasks.view,
    allocations: tasks.allocations,
    quotas: tasks.quotas,
    scheduling: tasks.scheduling,
    seen: (namespace, revision) => views.waitFor(namespace, revision, SEEN_MS).catch(() => {}),
    heldBack: (namespace) =>
      care.outlook.freezes(namespace).length > 0 || care.outlook.brakes(namespace).length > 0,
  });
  const verdicts = new VerdictWriter({
    store,
    views,
    directory,
    mailboxes,
    events,
    clock,
    background,
    ids,
    log,
    troubles,
    failureWindowMs: (record) => policyOf(agentOf(record).spec, config.failures).windowMs,
  });
  const absences = new Absences({
    clock,
    wheel,
    self: context.self,
    onOver: (absence) => janitor.absenceOver(absence),
  });
  const responsibleFor = responsibility(config.relationships);
  const sessions: Sessions = new Sessions({
    context,
    store,
    storeMs: () => storeTime.ms(),
    directory,
    mailboxes,
    verdicts,
    absences,
    events,
    ids,
    log,
    maxSessions: config.limits.maxSessions,
    responsibleFor,
    onEnded: (session) => {
      observed.current?.ended(session);
      context.measuring?.ended(session);
      deliveries.ended(session);
    },
    onProcess: (session) => exits.reported(session),
  });
  const deliveries: Deliveries = new Deliveries({
    store,
    merged,
    storeTime,
    views,
    directory,
    mailboxes,
    background,
    events,
    clock,
    wheel,
    self: context.self,
    log,
    outcomeRules: ORDER_OUTCOMES,
    messageRule: messageOutcome,
    tasks: tasks.outcomes,
    returns: tasks.returns,
    metrics: options.metrics,
    tracing: options.tracing,
  });
  const orders = new Orders({
    store,
    storeTime,
    directory,
    mailboxes,
    events,
    ids,
    wallMs: () => clock.wallMs(),
    config: config.deliveries,
    maxMailbox: config.limits.maxMailbox,
  });
  /** What is done once per namespace, besides the care of failures. */
  const chores = [
    new OrderDeadlines({ store, directory, events, wallMs: () => clock.wallMs() }),
    new DeliveryUpkeep({
      ...{ store, directory, mailboxes, deliveries },
      deadLettersMs: config.events.retentionMs,
    }),
    ...coordination.chores,
    ...tasks.chores,
    ...resources.chores,
  ];
  const { failures } = config;
  const exits = new ProcessExits({ store, events, clock, background, log, failures });
  const care = createCare({
    config,
    store,
    records: careRecords,
    directory,
    mailboxes,
    troubles,
    events,
    clock,
    ids,
    background,
    log,
    self: context.self,
    replicaAlive: options.replicaAlive,
    storeMs: () => storeTime.ms(),
    chores,
    hooks: [...coordination.hooks, ...tasks.hooks, ...resources.hooks, ...(options.lossHooks ?? [])],
  });
  const observations = new Observations({ store, directory, context, sessions });
  observed.current = observations;
  directory.listen({ changed: () => {}, storeReplaced: (_before, now) => observations.storeReplaced(now) });
  const janitor: Janitor = new Janitor({
    context,
    directory,
    sessions,
    absences,
    verdicts,
    ids,
    replicaAlive: options.replicaAlive,
    fence: (namespace) => care.care.fence(namespace),
  });
  const agents = new Agents({
    store,
    mailboxes,
    directory,
    events,
    clock,
    ids,
    replicaId,
    maxAgents: config.limits.maxAgents,
    maxNamespaces: config.limits.maxNamespaces,
    validateSpec: (spec, agentId) => validateSpec(spec, agentId),
    responsibleFor,
  });
  const automation = new Automation({
    store,
    directory,
    surveys: care.surveys,
    events,
    maxNamespaces: config.limits.maxNamespaces,
  });
  const reader = new AgentReader({ views, directory, observations, verdicts });
  const explainTask = new ExplainTask({
    ...{ store, storeTime, views, directory, mailboxes, deliveries, reader: tasks.reader },
    scheduling: tasks.scheduling,
    observed: (known) => observations.of(known),
    agingMs: config.tasks.agingMs,
  });
  return {
    wheel,
    directory,
    context,
    views,
    verdicts,
    absences,
    sessions,
    observations,
    janitor,
    ...care,
    troubles,
    automation,
    exits,
    agents,
    reader,
    pacing,
    mailboxes,
    storeTime,
    deliveries,
    orders,
    chores,
    coordination,
    tasks: { ...tasks, explain: explainTask },
    resources,
  };
}

/** The configured relationships as a rule: "all_agents", or label selectors of which one must match. */
function responsibility(relationships: readonly string[]): (known: Pick<KnownAgent, 'record'>) => boolean {
  if (relationships.includes('all_agents')) return () => true;
  const selectors = relationships.map((text) => parseLabelSelector(text));
  return ({ record }) => {
    const labels = agentOf(record).spec?.labels ?? {};
    return selectors.some((selector) => matches(selector, labels));
  };
}
