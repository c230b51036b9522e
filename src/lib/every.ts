import type { Background } from './background.ts';

/** Runs `work` every `intervalMs`, never twice at a time; failures are logged and it goes on. Returns what stops it. */
export function every(
  background: Background,
  name: string,
  intervalMs: number,
  work: () => Promise<void>,
): () => void {
  let running = false;
  const timer = setInterval(() => {
    if (running) return;
    running = true;
    background.run(name, () => work().finally(() => (running = false)));
  }, intervalMs);
  return () => clearInterval(timer);
}
