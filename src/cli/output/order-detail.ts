import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { type Agent, Agent_Phase } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { byWords, drainStanding, quarantineUntil, restartStanding } from './standing.ts';
import { dim, type Line, plain } from './text.ts';
import { formatAgo, formatTime } from './time.ts';
import { verdictLines } from './verdict.ts';

export type Section = readonly [title: string, fields: readonly (readonly [string, Line])[]];

/** What was ordered of an agent, by whom and why, and how that stands. */
export function orderSections(agent: Agent, nowMs: number): Section[] {
  const { drain, quarantine, restart } = agent;
  const sections: Section[] = [];
  if (quarantine !== undefined) {
    sections.push([
      'Quarantine',
      [
        ['lasts', [plain(quarantineUntil(quarantine, nowMs))]],
        ...ordered(quarantine, nowMs),
        ...(quarantine.verdict === undefined ? [] : verdictLines(quarantine.verdict, nowMs)),
      ],
    ]);
  }
  if (drain !== undefined) {
    const more = drain.running.slice(5).map((name) => ['', [plain(name)]] as const);
    // The record keeps it when work is given again.
    const present = agent.phase === Agent_Phase.DRAINING || agent.phase === Agent_Phase.DRAINED;
    sections.push([
      present ? 'Drain' : 'Last drain',
      [['stands', drainStanding(agent, nowMs).words], ...more, ...ordered(drain, nowMs)],
    ]);
  }
  if (restart !== undefined) {
    sections.push(['Restart', [['stands', restartStanding(agent).words], ...ordered(restart, nowMs)]]);
  }
  return sections;
}

function ordered(
  order: {
    reason: string;
    actor: string;
    startTime?: Timestamp | undefined;
    deliveryId?: string;
  },
  nowMs: number,
): (readonly [string, Line])[] {
  const { reason, actor, startTime, deliveryId } = order;
  const when = startTime === undefined ? '' : `${formatTime(startTime)} (${formatAgo(startTime, nowMs)})`;
  return [
    ...(when === '' ? [] : [['ordered', [plain(when), plain(byWords(actor))]] as const]),
    ...(reason === '' ? [] : [['reason', [plain(reason)]] as const]),
    ...(deliveryId === undefined || deliveryId === '' ? [] : [['delivery', [dim(deliveryId)]] as const]),
  ];
}
