import type { Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { sparkline, spread } from './sparkline.ts';
import { dim, type Line, plain, warn } from './text.ts';
import { durationMs, formatAgo, formatDuration, formatMs, formatTime } from './time.ts';

/** A verdict with its evidence: rule, what it saw, and how the observer was. */
export function verdictLines(verdict: Verdict, nowMs: number): [string, Line][] {
  const lines: [string, Line][] = [
    ['rule', [plain(verdict.rule), dim(verdict.detail === '' ? '' : `: ${verdict.detail}`)]],
    [
      'when',
      [
        plain(
          `${formatTime(verdict.time)} (${formatAgo(verdict.time, nowMs)}), by ${verdict.replicaId || '?'}`,
        ),
      ],
    ],
  ];
  const evidence = seen(verdict);
  if (evidence !== '') lines.push(['saw', [plain(evidence)]]);
  if (verdict.sampleMs.length > 0) lines.push(['answers', samplesLine(verdict.sampleMs, 16)]);
  const { observer } = verdict;
  if (observer !== undefined) {
    const { shareInTrouble, zoneShareInTrouble, agents } = observer;
    const troubled =
      !observer.storeAvailable || Math.max(shareInTrouble, zoneShareInTrouble) > 0.1 || stalled(verdict);
    // Of the namespace since the count is told, before that of the observer's own sessions.
    const share = `${Math.round(shareInTrouble * 100)}% of ${agents > 0 ? `${agents} agents` : 'its sessions'}`;
    const zone = zoneShareInTrouble > 0 ? ` and ${Math.round(zoneShareInTrouble * 100)}% of its zone` : '';
    const text =
      `longest event-loop delay ${formatDuration(observer.eventLoopDelay)}, stood still ${formatDuration(observer.ownStall)}, ` +
      `store ${observer.storeAvailable ? 'reachable' : 'not reachable'}`;
    const tone = troubled ? warn : plain;
    lines.push(['observer', [tone(text)]], ['', [tone(`${share}${zone} in trouble`)]]);
  }
  return lines;
}

/** What the rule looked at, as far as it looked at anything. */
function seen(verdict: Verdict): string {
  const parts: string[] = verdict.epoch > 0n ? [`session epoch ${verdict.epoch}`] : [];
  if (verdict.silence !== undefined) parts.push(`silent for ${formatDuration(verdict.silence)}`);
  if (verdict.unansweredProbes > 0) parts.push(`${verdict.unansweredProbes} unanswered probes`);
  if (verdict.phi > 0) parts.push(`suspicion ${verdict.phi.toFixed(1)}`);
  return parts.join(', ');
}

/** The observer itself stood still for a good part of the silence. */
function stalled({ observer, silence }: Verdict): boolean {
  if (observer?.ownStall === undefined || silence === undefined) return false;
  return durationMs(observer.ownStall) > durationMs(silence) / 4;
}

/** Answer delays as bars with their figures. */
export function samplesLine(sampleMs: readonly number[], width: number): Line {
  const figures = spread(sampleMs);
  if (figures === undefined) return [dim('no samples')];
  return [
    plain(sparkline(sampleMs, width)),
    dim(
      `  ${sampleMs.length} answers: ${formatMs(figures.least)} at least, median ${formatMs(figures.median)}, ${formatMs(figures.most)} at most`,
    ),
  ];
}
