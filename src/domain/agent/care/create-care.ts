import type { Config } from '../../../config/config.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import { mailKey } from '../../coordination/delivery-record.ts';
import type { Mailboxes } from '../../coordination/mailboxes.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { AgentDirectory } from '../directory.ts';
import type { SelfWatch } from '../observer.ts';
import { hasRoomForOrder, pendingOrders } from '../order-rules.ts';
import { Actor } from './actor.ts';
import { Brakes } from './brakes.ts';
import { Care } from './care.ts';
import type { CareRecords } from './care-records.ts';
import type { Chore } from './chore.ts';
import { CommonCauses } from './common-cause.ts';
import { exitsKey } from './exits-record.ts';
import { Gates } from './gates.ts';
import { Leases } from './leases.ts';
import type { LossHook } from './loss-hook.ts';
import { Notices } from './notices.ts';
import { Outlook } from './outlook.ts';
import { Dependents } from './relations.ts';
import { Settling } from './settling.ts';
import { Surveys } from './surveys.ts';
import type { Troubles } from './troubles.ts';

export interface CreateCareOptions {
  /** A view: it must follow the store. */
  records: CareRecords;
  config: Pick<Config, 'id' | 'failures' | 'brake' | 'deliveries' | 'session' | 'limits'>;
  store: Store;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  troubles: Troubles;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  background: Background;
  log: Logger;
  self: SelfWatch;
  replicaAlive(replicaId: string): boolean;
  /** The store's clock, as far as is known without asking. */
  storeMs(): number;
  /** Done once in each namespace, by the holder of its lease. */
  chores: readonly Chore[];
  /** Take away what a lost agent had. */
  hooks: readonly LossHook[];
}

/** All that takes care of failing agents, wired together. */
export function createCare(options: CreateCareOptions) {
  const { config, store, records, directory, mailboxes, troubles, events, clock, ids, self } = options;
  const dependents = new Dependents();
  const causes = new CommonCauses({ troubleOf: (namespace) => troubles.of(namespace) });
  directory.listen(dependents);
  directory.listen(causes);
  const { failures, deliveries, brake } = config;
  const mailboxFull = (namespace: string, agentId: string): boolean =>
    mailboxes.count(namespace, agentId) >= config.limits.maxMailbox;
  const surveys = new Surveys({ directory, dependents, causes, failures, mailboxFull });
  const settling = new Settling({ clock, ids, self, graceMs: config.session.recoveryGraceMs });
  const gates = new Gates({ records, troubles, settling, config: brake });
  const notices = new Notices({ store, directory, dependents, events, deliveries, mailboxFull });
  const actor = new Actor({
    store,
    events,
    clock,
    ids,
    self,
    troubles,
    notices,
    replicaId: config.id,
    failures,
    deliveries,
    hooks: options.hooks,
    hasRoomForOrder: (known) => hasRoomForOrder(mailboxes, known, config.limits.maxMailbox),
    pendingOrders: (known) => pendingOrders(mailboxes, known),
    removal: (namespace, agentId) => [
      exitsKey(agentId),
      ...mailboxes.of(namespace, agentId).map(({ id }) => mailKey(agentId, id)),
    ],
  });
  const care = new Care({
    store,
    directory,
    records,
    leases: new Leases({
      store,
      records,
      clock,
      self,
      replicaId: config.id,
      startMs: clock.wallMs(),
      replicaAlive: options.replicaAlive,
    }),
    settling,
    gates,
    brakes: new Brakes({ store, directory, records, troubles, events, config: brake }),
    troubles,
    surveys,
    actor,
    events,
    clock,
    ids,
    background: options.background,
    log: options.log,
    chores: options.chores,
    brakeRatePerSecond: brake.ratePerSecond,
    quarantinesPerMinute: failures.quarantinesPerMinute,
  });
  const outlook = new Outlook({
    directory,
    records,
    gates,
    surveys,
    troubles,
    config: brake,
    storeMs: options.storeMs,
  });
  return { care, records, surveys, outlook };
}
