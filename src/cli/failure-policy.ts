import { clone, create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import {
  type FailurePolicy,
  type FailurePolicy_OnLoss,
  FailurePolicy_OnLossSchema,
  FailurePolicySchema,
  QuarantinePolicySchema,
  RestartPolicySchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { enumChoices } from './output/names.ts';
import { parseCount, parseDuration, parseEnum, parsePositiveDuration } from './parse.ts';

/** Durations in milliseconds. */
export interface PolicyOptions {
  onLoss?: FailurePolicy_OnLoss;
  releaseAfter?: number;
  restartOnLoss?: boolean;
  restartMinBackoff?: number;
  restartMaxBackoff?: number;
  restartResetAfter?: number;
  maxRestarts?: number;
  quarantine?: boolean;
  quarantineAfter?: number;
  quarantineWindow?: number;
  coolOff?: number;
}

/** The options that say what happens when an agent fails; the configuration (failures.*) says what they leave out. */
export function addPolicyOptions(command: Command): Command {
  return addQuarantineOptions(
    command
      .addOption(
        new Option('--on-loss <what>', 'what a loss does to its work and reservations')
          .choices(enumChoices(FailurePolicy_OnLossSchema))
          .argParser(parseEnum(FailurePolicy_OnLossSchema)),
      )
      .option('--release-after <duration>', 'how long after the loss that happens', parseDuration)
      .option('--restart-on-loss', 'a loss has its supervisor restart it')
      .option('--no-restart-on-loss', 'it does not')
      .option('--restart-min-backoff <duration>', 'the first pause before a restart', parsePositiveDuration)
      .option('--restart-max-backoff <duration>', 'the longest pause', parsePositiveDuration)
      .option('--restart-reset-after <duration>', 'attached so long, it begins anew', parsePositiveDuration)
      .option('--max-restarts <count>', 'in a row; then it is set aside', parseCount(1, 1_000)),
  );
}

/** Those of them that say when an agent is set aside. */
export function addQuarantineOptions(command: Command): Command {
  return command
    .option('--quarantine', 'set it aside when it fails again and again')
    .option('--no-quarantine', 'never do')
    .option('--quarantine-after <count>', 'so many failures set it aside', parseCount(2, 16))
    .option('--quarantine-window <duration>', 'within so long', parsePositiveDuration)
    .option('--cool-off <duration>', 'for so long', parsePositiveDuration);
}

/** The policy with what the options say; undefined: they say nothing of it. */
export function policyFrom(
  options: PolicyOptions,
  before: FailurePolicy | undefined,
): FailurePolicy | undefined {
  const policy = before === undefined ? create(FailurePolicySchema) : clone(FailurePolicySchema, before);
  let given = false;
  const take = <Value>(value: Value | undefined, set: (value: Value) => void): void => {
    if (value === undefined) return;
    given = true;
    set(value);
  };
  const restart = policy.restart ?? create(RestartPolicySchema);
  const quarantine = policy.quarantine ?? create(QuarantinePolicySchema);
  take(options.onLoss, (value) => {
    policy.onLoss = value;
  });
  take(options.releaseAfter, (ms) => {
    policy.releaseAfter = durationFromMs(ms);
  });
  const ofRestart = (change: Partial<typeof restart>): void => {
    policy.restart = Object.assign(restart, change);
  };
  take(options.restartOnLoss, (onLoss) => ofRestart({ onLoss }));
  take(options.restartMinBackoff, (ms) => ofRestart({ minBackoff: durationFromMs(ms) }));
  take(options.restartMaxBackoff, (ms) => ofRestart({ maxBackoff: durationFromMs(ms) }));
  take(options.restartResetAfter, (ms) => ofRestart({ resetAfter: durationFromMs(ms) }));
  take(options.maxRestarts, (maxAttempts) => ofRestart({ maxAttempts }));
  const ofQuarantine = (change: Partial<typeof quarantine>): void => {
    policy.quarantine = Object.assign(quarantine, change);
  };
  take(options.quarantine, (enabled) => ofQuarantine({ enabled }));
  take(options.quarantineAfter, (maxFailures) => ofQuarantine({ maxFailures }));
  take(options.quarantineWindow, (ms) => ofQuarantine({ window: durationFromMs(ms) }));
  take(options.coolOff, (ms) => ofQuarantine({ coolOff: durationFromMs(ms) }));
  return given ? policy : undefined;
}
