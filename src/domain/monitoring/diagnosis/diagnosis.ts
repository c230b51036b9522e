import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type DiagnoseRequest,
  type DiagnoseResponse,
  DiagnoseResponseSchema,
  type Finding,
  Finding_Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/logger.ts';
import { durationFromMs, timestampFromMs } from '../../../lib/proto-time.ts';
import { StoreUnavailableError } from '../../../state/store.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { type Check, type Found, findingOf, MAX_FOUND, type Scope } from './check.ts';
import { rank, worst } from './worst.ts';

export interface DiagnosisOptions {
  checks: readonly Check[];
  clock: Clock;
  log: Logger;
  replicaId: string;
  /** Namespaces of users. */
  namespaces(): readonly string[];
  /** What a check may take, milliseconds; default 5 s. */
  checkMs?: number;
  /** See Scope; default 2 s. */
  settleMs?: number;
}

const CHECK_MS = 5000;
const SETTLE_MS = 2000;
/** Diagnoses of different requests under way at a time. */
const MAX_RUNNING = 4;
/** How long one may hold up the event loop: pings wait no longer. */
const SLICE_MS = 8;

/** Walks the checks of the five debugging steps. */
export class Diagnosis {
  readonly #options: DiagnosisOptions;
  /** By what was asked for: whoever asks the same meanwhile gets the same answer. */
  readonly #running = new Map<string, Promise<DiagnoseResponse>>();

  constructor(options: DiagnosisOptions) {
    this.#options = options;
  }

  /** @throws DomainError INVALID_FIELDS (a check that there is not), LIMIT_REACHED */
  run(request: DiagnoseRequest): Promise<DiagnoseResponse> {
    const checks = this.#selected(request.checks);
    const key = JSON.stringify([request.namespace, checks.map(({ id }) => id)]);
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    if (this.#running.size >= MAX_RUNNING) {
      throw new DomainError({
        reason: ErrorReason.LIMIT_REACHED,
        message: `${MAX_RUNNING} diagnoses are under way already`,
        retryAfterMs: 1000,
      });
    }
    const made = this.#walk(request.namespace, checks).finally(() => this.#running.delete(key));
    this.#running.set(key, made);
    return made;
  }

  #selected(wanted: readonly string[]): readonly Check[] {
    const { checks } = this.#options;
    if (wanted.length === 0) return checks;
    const chosen = new Set<Check>();
    for (const [at, pattern] of wanted.entries()) {
      const matching = checks.filter(({ id }) => matches(id, pattern));
      if (matching.length === 0) {
        const description = `is no check; there are ${checks.map(({ id }) => id).join(', ')}`;
        throw new DomainError({
          reason: ErrorReason.INVALID_FIELDS,
          message: `checks[${at}] ${description}`,
          violations: [{ field: `checks[${at}]`, description }],
        });
      }
      for (const check of matching) chosen.add(check);
    }
    return checks.filter((check) => chosen.has(check));
  }

  async #walk(namespace: string, checks: readonly Check[]): Promise<DiagnoseResponse> {
    const { clock, replicaId } = this.#options;
    const startMs = clock.monoMs();
    const wallMs = clock.wallMs();
    const all = this.#options.namespaces();
    const whole = namespace === '' || namespace === SYSTEM_NAMESPACE;
    const namespaces = whole ? (namespace === '' ? all : []) : [namespace];
    const findings = (await Promise.all(checks.map((check) => this.#check(check, namespaces, whole)))).flat();
    // Checks stand in the order of the steps; of each the worst comes first.
    return create(DiagnoseResponseSchema, {
      findings,
      severity: worst(findings),
      replicaId,
      time: timestampFromMs(wallMs),
      elapsed: durationFromMs(clock.monoMs() - startMs),
    });
  }

  async #check(check: Check, namespaces: readonly string[], whole: boolean): Promise<Finding[]> {
    const { clock, log, checkMs = CHECK_MS, settleMs = SETTLE_MS } = this.#options;
    const end = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), checkMs);
    });
    try {
      const { signal } = end;
      const scope: Scope = { namespaces, whole, settleMs, breathe: breathing(clock, signal), signal };
      const result = await Promise.race([check.run(scope), late]);
      if (result === 'late') return [findingOf(check, notMade(`did not end within ${checkMs / 1000} s`))];
      if (result.found.length === 0) return [findingOf(check, well(result.well))];
      return bounded(result.found).map((found) => findingOf(check, found));
    } catch (error) {
      if (error instanceof StoreUnavailableError) {
        return [findingOf(check, notMade(`needs the store, which is away: ${error.message}`))];
      }
      log.error({ check: check.id, err: error }, 'a check of the diagnosis failed');
      return [findingOf(check, notMade('failed; the log of this replica says why'))];
    } finally {
      clearTimeout(timer);
      end.abort();
    }
  }
}

function matches(id: string, pattern: string): boolean {
  if (pattern === '*') return true;
  return pattern.endsWith('.*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern;
}

const well = (summary: string): Found => ({ code: 'ok', severity: Finding_Severity.OK, summary });
const notMade = (why: string): Found => ({
  code: 'check_not_made',
  severity: Finding_Severity.UNKNOWN,
  summary: `The check ${why}.`,
});

function bounded(found: readonly Found[]): Found[] {
  const sorted = [...found].sort((a, b) => rank(b.severity) - rank(a.severity));
  const [first] = sorted.slice(MAX_FOUND - 1);
  if (sorted.length <= MAX_FOUND || first === undefined) return sorted;
  const more = sorted.length - MAX_FOUND + 1;
  return [
    ...sorted.slice(0, MAX_FOUND - 1),
    {
      code: 'more',
      severity: first.severity,
      summary: `${more} more findings of this check are not shown.`,
      advice: 'Look at one namespace at a time.',
    },
  ];
}

/** Pauses when a slice is over; ends what nobody waits for any more. */
function breathing(clock: Clock, signal: AbortSignal): () => Promise<void> | undefined {
  let startMs = clock.monoMs();
  return () => {
    signal.throwIfAborted();
    if (clock.monoMs() - startMs < SLICE_MS) return undefined;
    return new Promise((resolve) =>
      setImmediate(() => {
        startMs = clock.monoMs();
        resolve();
      }),
    );
  };
}
