import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { quote } from '../../../lib/violations.ts';
import type { Constraint, ExcludedTally, ExhaustedTally, Findings } from './findings.ts';
import type { WantClass } from './want-class.ts';

const plural = (count: number, one: string): string => `${count} ${count === 1 ? one : `${one}s`}`;

const placeOf = (byZone: boolean): string => (byZone ? 'zone' : 'agent');

/** "2 draining, 1 STOPPED". */
const countedWords = ({ words }: ExcludedTally): string =>
  [...words].map(([word, count]) => `${count} ${word}`).join(', ');

/** "a, b and 4 more". */
function examplesOf({ agents, examples }: ExcludedTally): string {
  const more = agents - examples.length;
  return more > 0 ? `${examples.join(', ')} and ${more} more` : examples.join(', ');
}

/** One constraint in words: what an agent must be or have that these are not or have not. */
export function excludedDetail(constraint: Constraint, tally: ExcludedTally, wantClass: WantClass): string {
  const { placement } = wantClass.want;
  switch (constraint) {
    case 'capability':
      return `without capability ${quote(wantClass.candidates.capability)}`;
    case 'capability_version':
      return `version ${quote(placement?.capabilityVersion ?? '')} is wanted; they have ${[...tally.words.keys()].join(', ')}`;
    case 'selector':
      return `labels do not match ${quote(placement?.selector ?? '')}`;
    case 'agent_ids':
      return `not among the ${plural(placement?.agentIds.length ?? 0, 'agent')} that may have it`;
    case 'not_agent_ids':
      return 'ruled out by name';
    case 'phase':
    case 'liveness':
      return countedWords(tally);
    case 'declined':
      return tally.words.size === 0 ? 'declined it' : `declined it: ${countedWords(tally)}`;
    case 'max_per_agent':
      return `at most ${wantClass.maxPerAgent} of group ${quote(wantClass.group)} on one agent`;
    case 'affinity':
      return wantClass.nearness
        .filter(({ required }) => required)
        .map(({ group, byZone, apart }) =>
          apart
            ? `no ${placeOf(byZone)} that has any of group ${quote(group)}`
            : `only ${placeOf(byZone)}s that have some of group ${quote(group)}`,
        )
        .join('; ');
    case 'spread':
      return wantClass.spreads
        .filter(({ required }) => required)
        .map(
          ({ byZone, maxSkew }) =>
            `at most ${maxSkew} more of group ${quote(wantClass.group)} than on the ${placeOf(byZone)} with the fewest`,
        )
        .join('; ');
    case 'reserved_for_waiting':
      return `kept free for ${[...tally.words.keys()].join(', ')}`;
    case 'what_if_drained':
      return 'supposed to be drained';
  }
}

/** The whole in a sentence, with names and numbers. */
export function detailOf(found: Findings, reason: PendingReason): string {
  const { funnel, out, scores } = found;
  switch (reason) {
    case PendingReason.NO_CAPABILITY:
      return noCapability(found);
    case PendingReason.CONSTRAINTS:
      return funnel.allowed === 0
        ? `constraints exclude ${capable(found)}: ${fixedList(found)}`
        : `${areAll(funnel.willing, 'could have it now', 'excluded')}: ${outList(out.crowded)}`;
    case PendingReason.TOO_LARGE:
      return `too large for ${allOf(funnel.allowed)} that constraints leave: ${tooLarge(found)}`;
    case PendingReason.AGENTS_AWAY:
      return `${areAll(funnel.eligible, 'could have it', 'away')}: ${outList(out.away)}`;
    case PendingReason.DECLINED:
      return `${allOf(funnel.there)} that could have it declined: ${outList(out.declined)}`;
    case PendingReason.NO_ROOM:
      return `${areAll(funnel.uncrowded, 'could have it now', 'full')}: ${lacking(found.full)}`;
    case PendingReason.TURN:
      return `${areAll(funnel.withRoom, 'has room', 'kept free for what has waited longer', 'have room')}: ${outList(out.kept)}`;
    default:
      return `${scores[0]?.score.agentId ?? ''} is the best of ${plural(funnel.fitting, 'agent')} that ${funnel.fitting === 1 ? 'fits' : 'fit'}`;
  }
}

const allOf = (count: number): string => (count === 1 ? 'the only agent' : `all ${count} agents`);

const areAll = (count: number, which: string, how: string, whichOfSeveral = which): string =>
  count === 1
    ? `the only agent that ${which} is ${how}`
    : `all ${count} agents that ${whichOfSeveral} are ${how}`;

/** "2 suspect, 1 draining (a, b, c)". */
const outList = (tally: ExcludedTally): string =>
  tally.words.size === 0 ? examplesOf(tally) : `${countedWords(tally)} (${examplesOf(tally)})`;

function capable({ funnel, wantClass }: Findings): string {
  const { capability } = wantClass.candidates;
  if (capability === '') return allOf(funnel.capable);
  return `${allOf(funnel.capable)} with capability ${quote(capability)}${inVersion(wantClass)}`;
}

const inVersion = ({ want }: WantClass): string => {
  const version = want.placement?.capabilityVersion ?? '';
  return version === '' ? '' : ` in version ${quote(version)}`;
};

function fixedList({ excluded, wantClass }: Findings): string {
  return (['selector', 'agent_ids', 'not_agent_ids'] as const)
    .flatMap((constraint) => {
      const tally = excluded.get(constraint);
      if (tally === undefined) return [];
      const words = excludedDetail(constraint, tally, wantClass);
      return [`${constraint} ${tally.agents} (${words}: ${examplesOf(tally)})`];
    })
    .join(', ');
}

function noCapability({ funnel, excluded, wantClass }: Findings): string {
  if (funnel.agents === 0) return 'the namespace has no agents';
  const capability = quote(wantClass.candidates.capability);
  const versions = excluded.get('capability_version');
  if (versions === undefined) return `none of ${plural(funnel.agents, 'agent')} has capability ${capability}`;
  const have = [...versions.words.keys()].join(', ');
  return `none of ${plural(versions.agents, 'agent')} with capability ${capability} has it${inVersion(wantClass)}; they have ${have}`;
}

function tooLarge({ largest }: Findings): string {
  const short = largest.filter(({ needed, most }) => most < needed);
  if (short.length === 0) {
    return `no single one has ${largest.map(({ resource, needed }) => `${needed} ${resource}`).join(' and ')}`;
  }
  return short
    .map(({ resource, needed, most, agentId }) =>
      most === 0
        ? `${needed} ${resource} needed, none has any`
        : `${needed} ${resource} needed, the largest has ${most} (${agentId})`,
    )
    .join('; ');
}

function lacking(full: readonly ExhaustedTally[]): string {
  return full
    .filter(({ agents }) => agents > 0)
    .map(
      ({ resource, needed, mostFree, mostFreeOn, agents }) =>
        `${needed} ${resource} needed, ${agents} ${agents === 1 ? 'has' : 'have'} less (at most ${mostFree} free, on ${mostFreeOn})`,
    )
    .join('; ');
}
