import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type LinkPolicy,
  LinkPolicySchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  type LinkPolicyRecord,
  LinkPolicyRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { matches, parseLabelSelector } from '../../agent/label-selector.ts';
import { agentOf } from '../../agent/record.ts';

const PREFIX = 'link/';

export const linkPolicyKey = (id: string): string => PREFIX + id;
const isLinkPolicyKey = (key: string): boolean => key.startsWith(PREFIX);

export const encodeLinkPolicy = (record: LinkPolicyRecord): Uint8Array =>
  encode(LinkPolicyRecordSchema, record);
export const decodeLinkPolicy = (bytes: Uint8Array): LinkPolicyRecord =>
  fromBinary(LinkPolicyRecordSchema, bytes);

/** A policy as callers see it. */
export function shownPolicy(namespace: string, policy: LinkPolicy, revision: bigint): LinkPolicy {
  return Object.assign(create(LinkPolicySchema), policy, { namespace, revision });
}

/** Stands before the id of an agent that a policy names instead of a selector. */
export const ONE_AGENT = 'agent:';

type End = (agentId: string | undefined) => boolean;

export interface KnownPolicy {
  readonly id: string;
  readonly policy: LinkPolicy;
  readonly revision: bigint;
  readonly from: End;
  readonly to: End;
}

interface NamespacePolicies {
  byId: Map<string, KnownPolicy>;
  /** As they are looked at; undefined when one came or went since it was made. */
  ordered: readonly KnownPolicy[] | undefined;
  /** The policy for a pair of sender and receiver, or null for none; void when labels or policies change. */
  pairs: Map<string, KnownPolicy | null>;
}

const NONE: readonly KnownPolicy[] = [];
/** Pairs that are remembered in one namespace. */
const MAX_PAIRS = 100_000;

/** The view of all link policies: which one holds for a message from one agent to another. */
export class LinkPolicyView implements View {
  readonly #directory: AgentDirectory;
  readonly #namespaces = new Map<string, NamespacePolicies>();

  constructor(options: { directory: AgentDirectory }) {
    this.#directory = options.directory;
    options.directory.listen({
      changed: (before, after) => {
        const agent = after ?? before;
        const policies = agent && this.#namespaces.get(agent.namespace);
        if (policies !== undefined && !sameLabels(before, after)) policies.pairs.clear();
      },
    });
  }

  /** Whether there are policies at all: nearly nobody has any, and then they cost one look-up. */
  any(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  get(namespace: string, id: string): KnownPolicy | undefined {
    return this.#namespaces.get(namespace)?.byId.get(id);
  }

  /** By falling priority, then by id. The array must not be changed. */
  ordered(namespace: string): readonly KnownPolicy[] {
    const policies = this.#namespaces.get(namespace);
    if (policies === undefined) return NONE;
    policies.ordered ??= [...policies.byId.values()].sort(
      (a, b) => b.policy.priority - a.policy.priority || (a.id < b.id ? -1 : 1),
    );
    return policies.ordered;
  }

  /** The policy that holds. @param sender the agent that sends; undefined: no agent does */
  of(namespace: string, sender: string | undefined, receiver: string): KnownPolicy | undefined {
    const policies = this.#namespaces.get(namespace);
    if (policies === undefined) return undefined;
    const pair = `${sender ?? ''}/${receiver}`;
    let found = policies.pairs.get(pair);
    if (found === undefined) {
      found = this.ordered(namespace).find(({ from, to }) => from(sender) && to(receiver)) ?? null;
      if (policies.pairs.size >= MAX_PAIRS) policies.pairs.clear();
      policies.pairs.set(pair, found);
    }
    return found ?? undefined;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    this.#namespaces.delete(namespace);
    for (const { key, value, revision } of entries)
      if (isLinkPolicyKey(key)) this.#put(namespace, key, value, revision);
  }

  apply(batch: ChangeBatch): void {
    for (const { key, value } of batch.changes) {
      if (!isLinkPolicyKey(key)) continue;
      if (value === undefined) this.#remove(batch.namespace, key.slice(PREFIX.length));
      else this.#put(batch.namespace, key, value, batch.revision);
    }
  }

  #put(namespace: string, key: string, value: Uint8Array, revision: bigint): void {
    const { policy } = decodeLinkPolicy(value);
    if (policy === undefined) return;
    let policies = this.#namespaces.get(namespace);
    if (policies === undefined) {
      policies = { byId: new Map(), ordered: undefined, pairs: new Map() };
      this.#namespaces.set(namespace, policies);
    }
    const id = key.slice(PREFIX.length);
    const from = this.#end(namespace, policy.from);
    const to = this.#end(namespace, policy.to);
    policies.byId.set(id, { id, policy, revision, from, to });
    policies.ordered = undefined;
    policies.pairs.clear();
  }

  #remove(namespace: string, id: string): void {
    const policies = this.#namespaces.get(namespace);
    if (policies?.byId.delete(id) !== true) return;
    policies.ordered = undefined;
    policies.pairs.clear();
    if (policies.byId.size === 0) this.#namespaces.delete(namespace);
  }

  #end(namespace: string, text: string): End {
    if (text === '') return () => true;
    if (text.startsWith(ONE_AGENT)) {
      const id = text.slice(ONE_AGENT.length);
      return (agentId) => agentId === id;
    }
    const selector = parseLabelSelector(text);
    return (agentId) => {
      const known = agentId === undefined ? undefined : this.#directory.get(namespace, agentId);
      return known !== undefined && matches(selector, labelsOf(known));
    };
  }
}

const labelsOf = ({ record }: KnownAgent): { readonly [key: string]: string } =>
  agentOf(record).spec?.labels ?? {};

function sameLabels(before: KnownAgent | undefined, after: KnownAgent | undefined): boolean {
  if (before === undefined || after === undefined) return false;
  const one = labelsOf(before);
  const other = labelsOf(after);
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
