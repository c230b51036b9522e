import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import {
  type Activity,
  ActivitySchema,
  type AgentSpec,
  AgentSpecSchema,
  type Capability,
  CapabilitySchema,
  type Relationship,
  Relationship_Type,
  RelationshipSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { collect, collectAmount, collectPair, parsePositiveDuration } from './parse.ts';

export interface SpecOptions {
  displayName?: string;
  kind?: string;
  agentVersion?: string;
  capability?: string[];
  label?: Map<string, string>;
  annotation?: Map<string, string>;
  capacity?: Map<string, bigint>;
  dependsOn?: string[];
  supervisedBy?: string[];
  /** Names with their progress budgets, milliseconds. */
  activity?: Map<string, number | undefined>;
  forgetAfter?: number;
}

/** The options that describe an agent; those of its failure policy come by `addPolicyOptions`. */
export function addSpecOptions(command: Command): Command {
  return command
    .option('--kind <kind>', 'what sort of agent it is')
    .option('--display-name <name>', 'for people')
    .option('--agent-version <version>', "the agent software's version")
    .option('--capability <name[@version]>', 'what it can do; repeatable', collect)
    .option('--label <key=value>', 'for selectors; repeatable', collectPair)
    .option('--annotation <key=value>', 'anything else worth keeping; repeatable', collectPair)
    .option('--capacity <key=amount>', 'what it can hold: cpu_milli=4000; repeatable', collectAmount)
    .option('--depends-on <agent>', 'it needs that agent; repeatable', collect)
    .option('--supervised-by <agent>', 'that agent restarts it; repeatable', collect)
    .option(
      '--activity <name[=budget]>',
      'an activity and its progress budget: indexing=30s; repeatable',
      collectActivity,
    )
    .option('--forget-after <duration>', 'deregister it so long after it is gone', parsePositiveDuration);
}

export function collectActivity(
  text: string,
  before: ReadonlyMap<string, number | undefined> | undefined,
): Map<string, number | undefined> {
  const [name = '', budget] = splitOnce(text, '=');
  if (before?.has(name)) throw new InvalidArgumentError(`${name} is given twice.`);
  return new Map(before).set(name, budget === undefined ? undefined : parsePositiveDuration(budget));
}

/** The spec that the options describe; the service validates it. */
export function specFrom(options: SpecOptions): AgentSpec {
  const init: MessageInitShape<typeof AgentSpecSchema> = {
    displayName: options.displayName ?? '',
    kind: options.kind ?? '',
    version: options.agentVersion ?? '',
    capabilities: capabilitiesFrom(options.capability ?? []),
    labels: Object.fromEntries(options.label ?? []),
    annotations: Object.fromEntries(options.annotation ?? []),
    capacity: Object.fromEntries(options.capacity ?? []),
    relationships: [
      ...relationshipsFrom(Relationship_Type.DEPENDS_ON, options.dependsOn ?? []),
      ...relationshipsFrom(Relationship_Type.SUPERVISED_BY, options.supervisedBy ?? []),
    ],
    activities: activitiesFrom(options.activity ?? new Map()),
  };
  const spec = create(AgentSpecSchema, init);
  if (options.forgetAfter !== undefined) spec.forgetAfter = durationFromMs(options.forgetAfter);
  return spec;
}

/** `name` or `name@version` of each. */
export function capabilitiesFrom(texts: readonly string[]): Capability[] {
  return texts.map((text) => {
    const [name = '', version = ''] = splitOnce(text, '@');
    return create(CapabilitySchema, { name, version });
  });
}

export function relationshipsFrom(type: Relationship_Type, agentIds: readonly string[]): Relationship[] {
  return agentIds.map((agentId) => create(RelationshipSchema, { type, agentId }));
}

export function activitiesFrom(budgets: ReadonlyMap<string, number | undefined>): Activity[] {
  return [...budgets].map(([name, budgetMs]) =>
    create(
      ActivitySchema,
      budgetMs === undefined ? { name } : { name, progressBudget: durationFromMs(budgetMs) },
    ),
  );
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}
