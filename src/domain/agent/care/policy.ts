import { create } from '@bufbuild/protobuf';
import {
  type AgentSpec,
  type FailurePolicy,
  FailurePolicy_OnLoss,
  FailurePolicySchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { FailuresConfig } from '../../../config/config.ts';
import { durationFromMs, msFromDuration } from '../../../lib/proto-time.ts';

/** What holds for one agent: its own policy where it has one, else the configured one. */
export interface Policy {
  onLoss: 'release' | 'keep';
  releaseAfterMs: number;
  restartOnLoss: boolean;
  minBackoffMs: number;
  maxBackoffMs: number;
  maxAttempts: number;
  resetAfterMs: number;
  quarantine: boolean;
  maxFailures: number;
  windowMs: number;
  coolOffMs: number;
}

const { RELEASE, KEEP, UNSPECIFIED } = FailurePolicy_OnLoss;

export function policyOf(spec: AgentSpec | undefined, config: FailuresConfig): Policy {
  const own = spec?.failurePolicy;
  const { restart, quarantine } = own ?? {};
  const onLoss = own?.onLoss ?? UNSPECIFIED;
  const minBackoffMs = ms(restart?.minBackoff, config.restartMinBackoffMs);
  return {
    onLoss: onLoss === UNSPECIFIED ? config.onLoss : onLoss === KEEP ? 'keep' : 'release',
    releaseAfterMs: ms(own?.releaseAfter, config.releaseAfterMs),
    restartOnLoss: restart?.onLoss ?? config.restartOnLoss === 'yes',
    minBackoffMs,
    maxBackoffMs: Math.max(minBackoffMs, ms(restart?.maxBackoff, config.restartMaxBackoffMs)),
    maxAttempts: restart?.maxAttempts ?? config.restartMaxAttempts,
    resetAfterMs: ms(restart?.resetAfter, config.restartResetAfterMs),
    quarantine: quarantine?.enabled ?? config.quarantine === 'on',
    maxFailures: quarantine?.maxFailures ?? config.quarantineMaxFailures,
    windowMs: ms(quarantine?.window, config.quarantineWindowMs),
    coolOffMs: ms(quarantine?.coolOff, config.quarantineCoolOffMs),
  };
}

/** The same as callers see it, with nothing left out. */
export function publicPolicy(policy: Policy): FailurePolicy {
  return create(FailurePolicySchema, {
    onLoss: policy.onLoss === 'keep' ? KEEP : RELEASE,
    releaseAfter: durationFromMs(policy.releaseAfterMs),
    restart: {
      onLoss: policy.restartOnLoss,
      minBackoff: durationFromMs(policy.minBackoffMs),
      maxBackoff: durationFromMs(policy.maxBackoffMs),
      maxAttempts: policy.maxAttempts,
      resetAfter: durationFromMs(policy.resetAfterMs),
    },
    quarantine: {
      enabled: policy.quarantine,
      maxFailures: policy.maxFailures,
      window: durationFromMs(policy.windowMs),
      coolOff: durationFromMs(policy.coolOffMs),
    },
  });
}

/** The pause before the nth order in a row, without its spread: min·2^(n−1), at most max. */
export function backoffMs(policy: Pick<Policy, 'minBackoffMs' | 'maxBackoffMs'>, attempt: number): number {
  // Beyond 2^40 the ceiling has long been reached, whatever the two are.
  return Math.min(policy.maxBackoffMs, policy.minBackoffMs * 2 ** Math.min(40, attempt - 1));
}

function ms(duration: Parameters<typeof msFromDuration>[0] | undefined, otherwise: number): number {
  return duration === undefined ? otherwise : msFromDuration(duration);
}
