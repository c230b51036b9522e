import {
  type FailurePolicy,
  FailurePolicy_OnLoss,
  type QuarantinePolicy,
  type RestartPolicy,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { durationMs, formatDuration } from './time.ts';

/** What happens when an agent fails, as far as the policy says so: name and words. */
export function policyWords({
  onLoss,
  releaseAfter,
  restart,
  quarantine,
}: FailurePolicy): [string, string][] {
  const after =
    releaseAfter === undefined
      ? ''
      : durationMs(releaseAfter) === 0
        ? ' at once'
        : ` ${formatDuration(releaseAfter)} after the loss`;
  const work: Partial<Record<FailurePolicy_OnLoss, string>> = {
    [FailurePolicy_OnLoss.RELEASE]: `its work is released${after}`,
    [FailurePolicy_OnLoss.KEEP]: 'its work waits for it',
  };
  const words: [string, string][] = [
    ['on loss', work[onLoss] ?? (after === '' ? '' : `its work, if released, is${after}`)],
    ...(restart === undefined ? [] : restartWords(restart)),
    ['quarantine', quarantine === undefined ? '' : quarantinePolicyWords(quarantine)],
  ];
  return words.filter(([, text]) => text !== '');
}

function restartWords({
  onLoss,
  minBackoff,
  maxBackoff,
  maxAttempts,
  resetAfter,
}: RestartPolicy): [string, string][] {
  if (onLoss === false) return [['restart', 'not because of a loss']];
  const least = minBackoff === undefined ? '' : ` from ${formatDuration(minBackoff)}`;
  const most = maxBackoff === undefined ? '' : ` to ${formatDuration(maxBackoff)}`;
  const when = joined(
    onLoss === true ? 'by its supervisor after a loss' : '',
    least + most === '' ? '' : `pauses${least}${most}`,
  );
  const often = joined(
    maxAttempts === undefined ? '' : `at most ${maxAttempts} in a row`,
    resetAfter === undefined ? '' : `anew after ${formatDuration(resetAfter)} attached`,
  );
  return when === ''
    ? [['restart', often]]
    : [
        ['restart', when],
        ['', often],
      ];
}

function quarantinePolicyWords({ enabled, maxFailures, window, coolOff }: QuarantinePolicy): string {
  if (enabled === false) return 'never';
  const within = window === undefined ? '' : ` within ${formatDuration(window)}`;
  return joined(
    maxFailures === undefined
      ? within === ''
        ? ''
        : `after failures${within}`
      : `after ${maxFailures} failures${within}`,
    coolOff === undefined ? '' : `for ${formatDuration(coolOff)}`,
  );
}

function joined(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(', ');
}
