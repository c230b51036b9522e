import type { ServiceConfig } from '../../../config/monitoring-config.ts';

export type { ServiceConfig } from '../../../config/monitoring-config.ts';

/** What a probe found. */
export type ProbeOutcome =
  /** It answered, and says that it is well. */
  | { ok: true; latencyMs: number }
  /** It did not, or it says that it is not; why, in a few words without secrets. */
  | { ok: false; detail: string };

/** Asks a service once. Never rejects, and ends soon after the signal fires. */
export type Probe = (service: ServiceConfig, signal: AbortSignal) => Promise<ProbeOutcome>;

/** By kind of probe. */
export type Probes = Readonly<Record<ServiceConfig['probe'], Probe>>;
