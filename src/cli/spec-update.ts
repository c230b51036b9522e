import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type AgentSpec,
  AgentSpecSchema,
  Relationship_Type,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { activitiesFrom, capabilitiesFrom, collectActivity, relationshipsFrom } from './agent-spec.ts';
import { UsageError } from './errors.ts';
import { addPolicyOptions, type PolicyOptions, policyFrom } from './failure-policy.ts';
import { collect, collectAmount, collectChange, type MapChange, parsePositiveDuration } from './parse.ts';

export interface UpdateOptions extends PolicyOptions {
  displayName?: string;
  kind?: string;
  agentVersion?: string;
  capability?: string[];
  label?: MapChange[];
  annotation?: MapChange[];
  capacity?: MapChange[];
  dependsOn?: string[];
  supervisedBy?: string[];
  activity?: Map<string, number | undefined>;
  forgetAfter?: number;
  /** Fields of AgentSpec as its mask names them. */
  clear?: string[];
}

const fieldNames = AgentSpecSchema.fields.map(({ name }) => name);
const choices = fieldNames.map((name) => name.replaceAll('_', '-'));

/** The options that change what describes an agent. */
export function addUpdateOptions(command: Command): Command {
  command
    .option('--kind <kind>', 'what sort of agent it is')
    .option('--display-name <name>', 'for people')
    .option('--agent-version <version>', "the agent software's version")
    .option('--capability <name[@version]>', 'what it can do, instead of all before; repeatable', collect)
    .option('--label <change>', 'key=value sets, key- removes; repeatable', collectChange)
    .option('--annotation <change>', 'likewise', collectChange)
    .option('--capacity <change>', 'likewise: cpu_milli=4000', collectCapacity)
    .option('--depends-on <agent>', 'it needs that agent, instead of all before; repeatable', collect)
    .option('--supervised-by <agent>', 'that agent restarts it, instead of all before; repeatable', collect)
    .option('--activity <name[=budget]>', 'instead of all before; repeatable', collectActivity)
    .option('--forget-after <duration>', 'deregister it so long after it is gone', parsePositiveDuration);
  return addPolicyOptions(command).addOption(
    new Option(
      '--clear <field>',
      'empty it first; what is given beside it is all that it then has; repeatable',
    )
      .choices(choices)
      .argParser(collectField),
  );
}

function collectField(text: string, before: readonly string[] | undefined): string[] {
  if (!choices.includes(text)) throw new InvalidArgumentError(`allowed: ${choices.join(', ')}.`);
  return [...(before ?? []), text.replaceAll('-', '_')];
}

function collectCapacity(text: string, before: readonly MapChange[] | undefined): MapChange[] {
  const changes = collectChange(text, before);
  if (changes.at(-1)?.value !== undefined) collectAmount(text, undefined);
  return changes;
}

/** Whether what is to be changed is one field with what is to be kept of it, so that it must be read first. */
export function buildsOnPresent(options: UpdateOptions): boolean {
  const keeps = (field: string) => options.clear?.includes(field) !== true;
  const related = options.dependsOn !== undefined || options.supervisedBy !== undefined;
  return (related && keeps('relationships')) || (policyGiven(options) && keeps('failure_policy'));
}

const policyGiven = (options: UpdateOptions): boolean => policyFrom(options, undefined) !== undefined;

/** What to send: new values and the mask that names them. Throws UsageError if there is nothing to change. */
export function updateFrom(
  options: UpdateOptions,
  present: AgentSpec | undefined,
): { spec: AgentSpec; paths: string[] } {
  const spec = create(AgentSpecSchema);
  const paths = new Set(options.clear);
  const kept = (field: string) => !paths.has(field);
  const before = {
    relationships: kept('relationships') ? (present?.relationships ?? []) : [],
    failurePolicy: kept('failure_policy') ? present?.failurePolicy : undefined,
  };
  const take = <Value>(path: string, value: Value | undefined, set: (value: Value) => void): void => {
    if (value === undefined) return;
    set(value);
    paths.add(path);
  };
  take('display_name', options.displayName, (text) => {
    spec.displayName = text;
  });
  take('kind', options.kind, (text) => {
    spec.kind = text;
  });
  take('version', options.agentVersion, (text) => {
    spec.version = text;
  });
  take('capabilities', options.capability, (texts) => {
    spec.capabilities = capabilitiesFrom(texts);
  });
  const change = <Value>(
    field: string,
    changes: readonly MapChange[] | undefined,
    set: (key: string, value: string) => Value,
  ): void => {
    const whole = paths.has(field);
    for (const { key, value } of changes ?? []) {
      if (value !== undefined) set(key, value);
      if (!whole) paths.add(`${field}.${key}`);
    }
  };
  change('labels', options.label, (key, value) => put(spec.labels, key, value));
  change('annotations', options.annotation, (key, value) => put(spec.annotations, key, value));
  change('capacity', options.capacity, (key, value) => put(spec.capacity, key, BigInt(value)));
  if (options.dependsOn !== undefined || options.supervisedBy !== undefined) {
    const { DEPENDS_ON, SUPERVISED_BY } = Relationship_Type;
    const given = new Map<Relationship_Type, readonly string[] | undefined>([
      [DEPENDS_ON, options.dependsOn],
      [SUPERVISED_BY, options.supervisedBy],
    ]);
    spec.relationships = [
      ...before.relationships.filter(({ type }) => given.get(type) === undefined),
      ...relationshipsFrom(DEPENDS_ON, options.dependsOn ?? []),
      ...relationshipsFrom(SUPERVISED_BY, options.supervisedBy ?? []),
    ];
    paths.add('relationships');
  }
  take('activities', options.activity, (budgets) => {
    spec.activities = activitiesFrom(budgets);
  });
  take('forget_after', options.forgetAfter, (ms) => {
    spec.forgetAfter = durationFromMs(ms);
  });
  take('failure_policy', policyFrom(options, before.failurePolicy), (policy) => {
    spec.failurePolicy = policy;
  });
  if (paths.size === 0) throw new UsageError('nothing to change: --help says what can be');
  return { spec, paths: [...paths] };
}

/** Keys are others' words: "__proto__" is one like any other. */
function put<Value>(map: Record<string, Value>, key: string, value: Value): void {
  Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
}
