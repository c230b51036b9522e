import { create } from '@bufbuild/protobuf';
import {
  type Finding,
  type Finding_Severity,
  FindingSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

/** What a check found: a Finding without what its check says. */
export interface Found {
  /** A name for this kind of finding that does not change. */
  code: string;
  severity: Finding_Severity;
  summary: string;
  /** At most 16 are shown. */
  evidence?: readonly string[];
  advice?: string;
  namespace?: string;
  /** At most 16 are shown. */
  subjects?: readonly string[];
}

/** Where is looked. */
export interface Scope {
  /** Namespaces of users; those of the request. */
  namespaces: readonly string[];
  /** Whether what concerns the whole service is wanted too; it always is, but for a look at one namespace. */
  whole: boolean;
  /** Lets others have their turn of the event loop; call it for each agent, delivery or task. */
  breathe(): Promise<void> | undefined;
  /** How long something may be on its way before it counts, milliseconds. */
  settleMs: number;
  /** Fires when nobody waits for the answer any more. */
  signal: AbortSignal;
}

export interface CheckResult {
  found: Found[];
  /** What to say where nothing was found, in a sentence with figures. */
  well: string;
}

export type Step = 1 | 2 | 3 | 4 | 5;

/** One thing that is looked at. */
export interface Check {
  /** "<area>.<issue>" of the requirements. */
  id: string;
  /** The debugging step that it belongs to. */
  step: Step;
  run(scope: Scope): Promise<CheckResult>;
}

/** Evidence and subjects that are shown of a finding. */
const SHOWN = 16;
/** Findings of one check; the rest is counted. */
export const MAX_FOUND = 32;
const MAX_TEXT = 512;

export function findingOf({ id, step }: Pick<Check, 'id' | 'step'>, found: Found): Finding {
  const { code, severity, summary, evidence = [], advice = '', namespace = '', subjects = [] } = found;
  return create(FindingSchema, {
    ...{ check: id, step, code, severity, advice, namespace },
    summary: cut(summary),
    evidence: shown(evidence, 'more').map(cut),
    subjects: subjects.slice(0, SHOWN),
  });
}

function shown(all: readonly string[], more: string): string[] {
  if (all.length <= SHOWN) return [...all];
  return [...all.slice(0, SHOWN - 1), `and ${all.length - SHOWN + 1} ${more}`];
}

const cut = (text: string): string => (text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`);
