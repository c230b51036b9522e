import { create } from '@bufbuild/protobuf';
import {
  type ExplainAgentResponse_Failure,
  ExplainAgentResponse_FailureSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type BrakeStatus,
  BrakeStatusSchema,
  type FreezeStatus,
  FreezeStatusSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { BrakesRecord_Brake } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { BrakeConfig } from '../../../config/config.ts';
import { durationFromMs, msFromTimestamp } from '../../../lib/proto-time.ts';
import type { AgentDirectory, KnownAgent } from '../directory.ts';
import { type CareRecords, leaseHolder } from './care-records.ts';
import { failuresWithin } from './failures.ts';
import type { Gates } from './gates.ts';
import { concerns, type Need, TAKES } from './needs.ts';
import { type Policy, publicPolicy } from './policy.ts';
import type { Surveys } from './surveys.ts';
import { type Troubles, zoneOf } from './troubles.ts';

export interface OutlookOptions {
  directory: AgentDirectory;
  records: CareRecords;
  gates: Gates;
  surveys: Surveys;
  troubles: Troubles;
  config: BrakeConfig;
  /** The store's clock. */
  storeMs(): number;
}

const COUNTED_MS = 1000;

/** Says what is done without anybody asking, and what is held back and why; on every replica, from its views. */
export class Outlook {
  readonly #options: OutlookOptions;
  /** What waits under each brake, as counted last; by "namespace zone". */
  readonly #counted = new Map<string, { held: number; confirmed: number; atMs: number }>();

  constructor(options: OutlookOptions) {
    this.#options = options;
  }

  /** The brakes that are set, of one namespace or of all. */
  brakes(namespace: string | undefined): BrakeStatus[] {
    const found: BrakeStatus[] = [];
    if (this.#options.records.braked().next().done === true) this.#counted.clear();
    for (const [where, { record }] of this.#options.records.braked()) {
      if (namespace !== undefined && where !== namespace) continue;
      for (const brake of record.brakes) found.push(this.#brake(where, brake));
    }
    return found;
  }

  freezes(namespace: string | undefined): FreezeStatus[] {
    const found: FreezeStatus[] = [];
    for (const [where, { record }] of this.#options.records.frozen()) {
      if (namespace !== undefined && where !== namespace) continue;
      const { actor, reason, startTime, endTime } = record;
      const status = create(FreezeStatusSchema, { namespace: where, actor, reason });
      if (startTime !== undefined) status.startTime = startTime;
      if (endTime !== undefined) status.endTime = endTime;
      found.push(status);
    }
    return found;
  }

  /** What ExplainAgent says of an agent's failures and of what follows from them. */
  explain(known: KnownAgent) {
    const storeMs = this.#options.storeMs();
    const policy = this.#options.surveys.policy(known);
    return {
      failures: failuresWithin(known.record, storeMs, policy.windowMs).map(
        ({ kind, time }): ExplainAgentResponse_Failure =>
          create(ExplainAgentResponse_FailureSchema, { kind, ...(time === undefined ? {} : { time }) }),
      ),
      failurePolicy: publicPolicy(policy),
      actions: this.#actions(known, policy, storeMs),
    };
  }

  #actions(known: KnownAgent, policy: Policy, storeMs: number): string[] {
    const { surveys, records } = this.#options;
    const needs = surveys.needs(known, storeMs);
    if (needs.length === 0) return [];
    const actions = needs.map((need) => `${wordsOf(need, policy)}: ${this.#when(known, need, storeMs)}`);
    const holder = leaseHolder(records, known.namespace);
    if (holder === undefined) actions.push('no replica has taken on the care of this namespace yet');
    return actions;
  }

  #when(known: KnownAgent, need: Need, storeMs: number): string {
    const { surveys, gates, config } = this.#options;
    const gate = gates.of(known, storeMs);
    const frozen = gate.kind === 'held' && gate.why === 'frozen';
    if (gate.kind === 'held' && (frozen || TAKES.has(need.kind))) return `held back, ${gate.detail}`;
    if (need.dueMs > storeMs) return `in ${Math.ceil((need.dueMs - storeMs) / 1000)} s`;
    const waitsFor = surveys.waitsFor(known, need);
    if (waitsFor !== undefined) return `waits, because ${waitsFor}`;
    if (gate.kind === 'limited' && TAKES.has(need.kind)) {
      return `in its turn, at ${config.ratePerSecond} agents a second while the brake is set`;
    }
    return 'now';
  }

  #brake(namespace: string, brake: BrakesRecord_Brake): BrakeStatus {
    const { troubles, config, storeMs } = this.#options;
    const { zone, startTime, threshold } = brake;
    const now = zone === '' ? troubles.of(namespace) : troubles.zones(namespace).get(zone);
    const { held, confirmed } = this.#held(namespace, zone);
    const where = zone === '' ? `namespace ${namespace}` : `zone ${zone} of namespace ${namespace}`;
    const { failing, agents } = now ?? { failing: 0, agents: 0 };
    const status = create(BrakeStatusSchema, {
      namespace,
      zone,
      failing,
      agents,
      threshold,
      held,
      confirmed,
      detail:
        `${brake.failing} of ${brake.agents} agents failed at once, ${failing} of ${agents} of ${where} are in trouble now: ` +
        `action on ${held} waits until they return or ConfirmLoss says that the loss is real`,
    });
    if (startTime !== undefined) {
      status.startTime = startTime;
      if (config.holdMs > 0) {
        const leftMs = msFromTimestamp(startTime) + config.holdMs - storeMs();
        status.releaseIn = durationFromMs(Math.max(0, leftMs));
      }
    }
    return status;
  }

  /** Goes through all agents of a namespace, once a second at most however many ask. */
  #held(namespace: string, zone: string): { held: number; confirmed: number } {
    const { directory, surveys, storeMs } = this.#options;
    const nowMs = storeMs();
    const place = `${namespace} ${zone}`;
    const before = this.#counted.get(place);
    if (before !== undefined && Math.abs(nowMs - before.atMs) < COUNTED_MS) return before;
    let held = 0;
    let confirmed = 0;
    for (const known of directory.all(namespace)) {
      const { record } = known;
      if (!concerns(record) || (zone !== '' && zoneOf(record) !== zone)) continue;
      const waiting = surveys.needs(known, nowMs);
      if (!waiting.some((need) => TAKES.has(need.kind) && need.dueMs <= nowMs)) continue;
      held += 1;
      if (record.lossConfirmedEpoch === record.sessionEpoch) confirmed += 1;
    }
    this.#counted.set(place, { held, confirmed, atMs: nowMs });
    return { held, confirmed };
  }
}

function wordsOf(need: Need, policy: Policy): string {
  switch (need.kind) {
    case 'handle_loss':
      return policy.onLoss === 'keep'
        ? 'its loss is noted, and its work and reservations are kept for it'
        : 'its work and reservations are taken away';
    case 'plan_restart':
      return `its ${need.attempt}. restart is planned`;
    case 'order_restart':
      return `${need.supervisor} is told to restart it, for the ${need.attempt}. time`;
    case 'quarantine':
      return `it is set aside (${need.rule}: ${need.detail})`;
    case 'end_quarantine':
      return 'it is no longer set aside';
    case 'tell_lost':
      return 'those who depend on it are told that it is lost';
    case 'tell_recovered':
      return 'those who depend on it are told that it is back';
    case 'forget':
      return 'it is deregistered, because of its forget_after';
  }
}
