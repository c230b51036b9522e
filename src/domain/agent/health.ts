/** What health is computed from; all of it is shown to whoever asks why. */
export interface HealthInput {
  /** A session is open. */
  connected: boolean;
  /** Suspicion now. */
  phi: number;
  /** Suspicion that makes SUSPECT. */
  suspectPhi: number;
  /** The activity that the agent reports; empty if none. */
  activity: string;
  /** The longest time without progress in that activity, or undefined without a contract. */
  progressBudgetMs: number | undefined;
  /** How long no counter has moved in that activity. */
  sinceProgressMs: number;
  /** Reported load 0..1, or undefined. */
  load: number | undefined;
}

export interface HealthParts {
  score: number;
  connected: number;
  responsive: number;
  progressing: number;
  headroom: number;
  reasons: string[];
}

/** Load up to which an agent has headroom; from here to full load the part falls from 1 to 0.5. */
const BUSY_LOAD = 0.8;

/** score = connected × responsive × progressing × headroom. docs/health.md gives the reasons. */
export function healthOf(input: HealthInput): HealthParts {
  const reasons: string[] = [];
  const connected = input.connected ? 1 : 0;
  if (!input.connected) reasons.push('no open session');

  // Below a phi of 1 an answer is not even late; that is no reason to score lower.
  const responsive = input.connected
    ? 1 - clamp01((input.phi - 1) / Math.max(0.001, input.suspectPhi - 1))
    : 0;
  if (input.connected && responsive < 1)
    reasons.push(`answers are late: phi ${input.phi.toFixed(1)} of ${input.suspectPhi}`);

  const stuck = input.progressBudgetMs !== undefined && input.sinceProgressMs > input.progressBudgetMs;
  const progressing = stuck ? 0 : 1;
  if (stuck) {
    const activity = input.activity === '' ? 'its work' : `"${input.activity}"`;
    reasons.push(
      `no progress in ${activity} for ${seconds(input.sinceProgressMs)}, allowed are ${seconds(input.progressBudgetMs ?? 0)}`,
    );
  }

  const load = input.load ?? 0;
  const headroom = 1 - 0.5 * clamp01((load - BUSY_LOAD) / (1 - BUSY_LOAD));
  if (headroom < 1) reasons.push(`load ${load.toFixed(2)} is above ${BUSY_LOAD}`);

  return {
    score: connected * responsive * progressing * headroom,
    connected,
    responsive,
    progressing,
    headroom,
    reasons,
  };
}

const clamp01 = (value: number): number => Math.min(1, Math.max(0, value));
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
