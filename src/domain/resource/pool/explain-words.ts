import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { quote } from '../../../lib/violations.ts';
import type { Constraint, ExcludedTally, Findings } from './findings.ts';
import type { WantClass } from './want-class.ts';

const plural = (count: number, one: string, more = `${one}s`): string =>
  `${count} ${count === 1 ? one : more}`;

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
  const { funnel } = found;
  switch (reason) {
    case PendingReason.NO_CAPABILITY:
      return noCapability(found);
    case PendingReason.CONSTRAINTS:
      return `constraints exclude all ${plural(funnel.capable, 'agent')} that have the capability: ${excludedList(found)}`;
    case PendingReason.TOO_LARGE:
      return `too large for ${each(funnel.allowed)}: ${tooLarge(found)}`;
    case PendingReason.AGENTS_AWAY:
      return `${all(funnel.eligible)} that could have it ${funnel.eligible === 1 ? 'is' : 'are'} away: ${excludedList(found, ['phase', 'liveness', 'what_if_drained'])}`;
    case PendingReason.DECLINED:
      return `${all(funnel.there)} that could have it declined it: ${excludedList(found, ['declined'])}`;
    case PendingReason.NO_ROOM:
      return noRoom(found);
    case PendingReason.TURN:
      return `${plural(funnel.withRoom, 'agent has', 'agents have')} room and ${funnel.withRoom === 1 ? 'is' : 'are'} kept free for what has waited longer: ${excludedList(found, ['reserved_for_waiting'])}`;
    default:
      return `${found.scores[0]?.score.agentId ?? ''} is the best of ${plural(funnel.fitting, 'agent')} that ${funnel.fitting === 1 ? 'fits' : 'fit'}`;
  }
}

const all = (count: number): string => (count === 1 ? 'the only agent' : `all ${count} agents`);
const each = (count: number): string =>
  count === 1
    ? 'the only agent that constraints leave'
    : `each of the ${count} agents that constraints leave`;

function excludedList({ excluded, wantClass }: Findings, only?: readonly Constraint[]): string {
  return [...excluded]
    .filter(([constraint]) => only?.includes(constraint) ?? !isCapability(constraint))
    .map(
      ([constraint, tally]) =>
        `${constraint} ${tally.agents} (${excludedDetail(constraint, tally, wantClass)}; ${examplesOf(tally)})`,
    )
    .join(', ');
}

const isCapability = (constraint: Constraint): boolean =>
  constraint === 'capability' || constraint === 'capability_version';

function noCapability({ funnel, excluded, wantClass }: Findings): string {
  if (funnel.agents === 0) return 'the namespace has no agents';
  const { capability } = wantClass.candidates;
  const versions = excluded.get('capability_version');
  if (versions === undefined)
    return `none of ${plural(funnel.agents, 'agent')} has capability ${quote(capability)}`;
  const wanted = quote(wantClass.want.placement?.capabilityVersion ?? '');
  const have = [...versions.words.keys()].join(', ');
  return `none of ${plural(versions.agents, 'agent')} with capability ${quote(capability)} has it in version ${wanted}; they have ${have}`;
}

function tooLarge({ largest }: Findings): string {
  const lacking = largest.filter(({ needed, most }) => most < needed);
  if (lacking.length === 0) {
    const needs = largest.map(({ resource, needed }) => `${needed} ${resource}`).join(' and ');
    return `none has ${needs} together`;
  }
  return lacking
    .map(({ resource, needed, most, agentId }) =>
      most === 0
        ? `${needed} ${resource} are needed and none has any`
        : `${needed} ${resource} are needed and the largest (${agentId}) has ${most}`,
    )
    .join(', ');
}

function noRoom({ funnel, exhausted, excluded }: Findings): string {
  const lacking = exhausted
    .filter(({ agents }) => agents > 0)
    .map(
      ({ resource, needed, mostFree, mostFreeOn, agents }) =>
        `${needed} ${resource} are needed, at most ${mostFree} are free (${mostFreeOn}) on the ${plural(agents, 'agent')} that lack it`,
    );
  const kept = excluded.get('reserved_for_waiting');
  if (lacking.length === 0 && kept !== undefined)
    lacking.push(`they are kept free besides (${examplesOf(kept)})`);
  const head =
    funnel.uncrowded === 1 ? 'the only agent left is full' : `all ${funnel.uncrowded} agents left are full`;
  return `${head}: ${lacking.join('; ')}`;
}
