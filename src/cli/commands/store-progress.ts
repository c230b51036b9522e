import type { Progress } from '../../store-admin/commands.ts';
import type { Output } from '../io.ts';
import { plain, renderLine } from '../output/text.ts';

const EVERY_MS = 200;
const CLEAR_LINE = '\r\x1b[K';

export interface ProgressLine {
  show: (progress: Progress) => void;
  /** Takes the line away. */
  clear: () => void;
}

/** One line that is written over on a terminal; nothing elsewhere. */
export function createProgress(output: Output): ProgressLine {
  if (output.isTTY !== true) return { show: () => {}, clear: () => {} };
  let [shownMs, shown] = [Number.NEGATIVE_INFINITY, false];
  return {
    show: ({ database, doing, records, bytes }) => {
      const nowMs = performance.now();
      if (nowMs - shownMs < EVERY_MS) return;
      [shownMs, shown] = [nowMs, true];
      const count = records === 0 ? '' : `${records.toLocaleString('en')} records, `;
      const text = `${doing} ${database}: ${count}${formatBytes(bytes)}`;
      const style = { colour: false, columns: (output.columns ?? 80) - 1 };
      output.write(CLEAR_LINE + renderLine([plain(text)], style));
    },
    clear: () => {
      if (shown) output.write(CLEAR_LINE);
      shown = false;
    },
  };
}

export function formatBytes(bytes: number): string {
  if (bytes < 1 << 20) return `${(bytes / 1024).toFixed(1)} KiB`;
  if (bytes < 1 << 30) return `${(bytes / (1 << 20)).toFixed(1)} MiB`;
  return `${(bytes / (1 << 30)).toFixed(2)} GiB`;
}
