import type { Output } from '../io.ts';

/** A block of lines on a terminal that is redrawn in place. */
export interface LiveView {
  draw(lines: readonly string[]): void;
  /** Leaves the last picture where it is. */
  end(): void;
}

const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';
const clearBelow = '\x1b[J';

/** `lines` must be rendered, none wider than the terminal. What is taller than the terminal is cut at its end. */
export function createLiveView(output: Output): LiveView {
  let height = 0;
  let drawn = false;
  return {
    draw(lines) {
      const room = Math.max(1, (output.rows || 24) - 1);
      const shown = lines.slice(0, room);
      const back = height > 0 ? `\x1b[${Math.min(height, room)}A\r` : '';
      output.write(`${drawn ? '' : hideCursor}${back}${clearBelow}${shown.join('\n')}\n`);
      drawn = true;
      height = shown.length;
    },
    end() {
      if (drawn) output.write(showCursor);
      drawn = false;
    },
  };
}
