import type { AnswerDelays } from './protocol.ts';

/** Draws the wait before one answer, milliseconds. */
export function drawDelayMs({ medianMs, sigma, spikeShare, spikeMs }: AnswerDelays): number {
  if (Math.random() < spikeShare) return spikeMs;
  // Standard normal, by Box and Muller.
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return medianMs * Math.exp(sigma * normal);
}
