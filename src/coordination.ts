import type { Config } from './config/config.ts';
import type { Chore } from './domain/agent/care/chore.ts';
import type { LossHook } from './domain/agent/care/loss-hook.ts';
import type { AgentDirectory, KnownAgent } from './domain/agent/directory.ts';
import { PreparedOrders } from './domain/agent/prepared-orders.ts';
import { LinkPolicies } from './domain/coordination/links/link-policies.ts';
import { LinkPolicyView } from './domain/coordination/links/link-policy-view.ts';
import { type LinkMetrics, Links } from './domain/coordination/links/links.ts';
import { Refusals } from './domain/coordination/links/refusals.ts';
import { LockUpkeep } from './domain/coordination/locks/lock-upkeep.ts';
import { LockView } from './domain/coordination/locks/lock-view.ts';
import { Locks } from './domain/coordination/locks/locks.ts';
import type { Mailboxes } from './domain/coordination/mailboxes.ts';
import { Calls } from './domain/coordination/messages/calls.ts';
import { DeadLetters } from './domain/coordination/messages/dead-letters.ts';
import { FanOuts } from './domain/coordination/messages/fan-out.ts';
import type { MessageTracing } from './domain/coordination/messages/message-tracing.ts';
import { MessageUpkeep } from './domain/coordination/messages/message-upkeep.ts';
import { Messages } from './domain/coordination/messages/messages.ts';
import { Receivers } from './domain/coordination/messages/receivers.ts';
import { Replies } from './domain/coordination/messages/replies.ts';
import { SubscriptionView } from './domain/coordination/messages/subscription-view.ts';
import { Subscriptions } from './domain/coordination/messages/subscriptions.ts';
import { CommandGiver } from './domain/coordination/operations/command-giver.ts';
import { OperationReader } from './domain/coordination/operations/operation-reader.ts';
import { OperationRunner } from './domain/coordination/operations/operation-runner.ts';
import { OperationUpkeep } from './domain/coordination/operations/operation-upkeep.ts';
import { OperationView } from './domain/coordination/operations/operation-view.ts';
import { Operations } from './domain/coordination/operations/operations.ts';
import { StartOperation } from './domain/coordination/operations/start-operation.ts';
import { SharedState } from './domain/coordination/state/shared-state.ts';
import { StateIndex } from './domain/coordination/state/state-index.ts';
import { StateUpkeep } from './domain/coordination/state/state-upkeep.ts';
import { LinkCounts } from './domain/coordination/traffic/link-counts.ts';
import { Traffic } from './domain/coordination/traffic/traffic.ts';
import type { EventWriter } from './domain/monitoring/events.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { Ids } from './lib/ids.ts';
import type { MergedCommits } from './state/merged-commits.ts';
import type { Store } from './state/store.ts';
import type { StoreTime } from './state/store-time.ts';
import type { View } from './state/views.ts';

export interface CoordinationOptions {
  config: Pick<Config, 'id' | 'limits' | 'deliveries' | 'events'>;
  store: Store;
  merged: MergedCommits;
  storeTime: StoreTime;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  background: Background;
  /** Resolves once the views of this replica show a revision, or after a while. */
  seen(namespace: string, revision: bigint): Promise<void>;
  /** The health score of an agent, 0 to 1; undefined: nothing was measured yet. */
  health(known: KnownAgent): number | undefined;
  metrics: LinkMetrics;
  tracing?: MessageTracing | undefined;
}

/** What agents and operators say to each other and share, wired together: messages, shared state and locks. */
export function createCoordination(options: CoordinationOptions) {
  const { config, store, merged, storeTime, directory, mailboxes, events, clock, ids, background, tracing } =
    options;
  const { maxMailbox, maxLocks, maxLockWaiters, maxReceivers, maxCalls, maxSubscriptions } = config.limits;
  const { maxLinkPolicies, maxLinks, watchBuffer } = config.limits;
  const { metrics } = options;
  const refusals = new Refusals({ store, storeTime, replicaId: config.id, startMs: clock.wallMs() });
  const linkPolicyView = new LinkPolicyView({ directory });
  const links = new Links({ view: linkPolicyView, directory, refusals, clock, metrics });
  const linkCounts = new LinkCounts({ mailboxes, max: maxLinks });
  const traffic = new Traffic({ mailboxes, links, counts: linkCounts, storeMs: () => storeTime.ms() });
  const stateIndex = new StateIndex();
  const lockView = new LockView();
  const subscriptionView = new SubscriptionView();
  const replies = new Replies({ directory, mailboxes });
  const fanOuts = new FanOuts({ store, directory, mailboxes, maxMailbox });
  const receivers = new Receivers({ directory, mailboxes, subscriptions: subscriptionView });
  const stateUpkeep = new StateUpkeep({ store, directory, index: stateIndex });
  const lockUpkeep = new LockUpkeep({ store, directory, view: lockView, events });
  const messageUpkeep = new MessageUpkeep({ store, mailboxes, receivers, links });
  const shared = {
    store,
    storeTime,
    directory,
    mailboxes,
    links,
    ids,
    maxMailbox,
    config: config.deliveries,
  };
  const messages = new Messages({
    ...{ ...shared, merged, receivers, maxReceivers, metrics },
    keptMs: config.events.retentionMs,
    tracing,
  });
  const operationView = new OperationView();
  const giver = new CommandGiver({
    ...{ store, directory, mailboxes, events, maxMailbox, config: config.deliveries },
    orders: new PreparedOrders({
      ...{ directory, mailboxes, maxMailbox, config: config.deliveries },
      wallMs: () => clock.wallMs(),
    }),
  });
  const operationRunner = new OperationRunner({
    ...{ store, storeTime, directory, mailboxes, view: operationView, giver, events, background },
    seen: options.seen,
    health: options.health,
  });
  const operationUpkeep = new OperationUpkeep({
    ...{ store, view: operationView },
    keptMs: config.events.retentionMs,
  });
  /** Before the mailboxes: a reply is heard before its delivery is missed. */
  const early: View[] = [replies];
  const views: View[] = [
    stateIndex,
    lockView,
    subscriptionView,
    linkPolicyView,
    fanOuts,
    traffic,
    operationView,
  ];
  const chores: Chore[] = [stateUpkeep, lockUpkeep, fanOuts, messageUpkeep, operationRunner, operationUpkeep];
  const hooks: LossHook[] = [stateUpkeep, lockUpkeep, messageUpkeep];
  return {
    early,
    views,
    chores,
    hooks,
    state: new SharedState({ store, storeTime, directory }),
    locks: new Locks({ store, storeTime, view: lockView, clock, maxLocks, maxWaiters: maxLockWaiters }),
    messages,
    calls: new Calls({ merged, messages, replies, clock, background, maxCalls }),
    subscriptions: new Subscriptions({
      store,
      storeTime,
      directory,
      view: subscriptionView,
      ids,
      maxSubscriptions,
      seen: options.seen,
    }),
    deadLetters: new DeadLetters({ ...shared, keptMs: config.events.retentionMs }),
    operations: {
      start: new StartOperation({
        ...{ store, storeTime, directory, view: operationView, giver, events, ids },
        maxOperations: config.limits.maxOperations,
      }),
      operations: new Operations({ store, directory, view: operationView, events }),
      reader: new OperationReader({ store, view: operationView }),
      view: operationView,
    },
    operationView,
    refusals,
    linkPolicies: new LinkPolicies({
      ...{ store, storeTime, directory, events, view: linkPolicyView },
      maxPolicies: maxLinkPolicies,
    }),
    traffic: { traffic, counts: linkCounts, replicaId: config.id, store, watchBuffer },
  };
}
