import type { Report } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';

/** Watches whether an agent's counters move; see the progress contract in AgentSpec.activities. */
export class ProgressWatch {
  #signature = '';
  #activity = '';
  #movedMs: number;

  constructor(nowMs: number) {
    this.#movedMs = nowMs;
  }

  get activity(): string {
    return this.#activity;
  }

  /** When a counter moved last, or the activity changed; monotonic milliseconds. */
  get movedMs(): number {
    return this.#movedMs;
  }

  report(report: Report, nowMs: number): void {
    let signature = '';
    for (const progress of report.progress) {
      signature += `${progress.work?.deliveryId ?? ''}/${progress.work?.attempt ?? ''}/${progress.name}=${progress.done};`;
    }
    if (report.activity !== this.#activity || signature !== this.#signature) this.#movedMs = nowMs;
    this.#activity = report.activity;
    this.#signature = signature;
  }
}
