import type { ComponentChildren } from 'preact';
import { type Mark, Shape } from './shape.tsx';

/** How good or bad something is. */
export type Tone = 'ok' | 'info' | 'warn' | 'bad' | 'idle';

export interface State {
  tone: Tone;
  mark: Mark;
  word: string;
}

export interface BadgeProps extends State {
  title?: string | undefined;
  /** Without a ground, for tables. */
  plain?: boolean;
}

/** A state by colour, form and word. */
export function Badge({ tone, mark, word, title, plain = false }: BadgeProps) {
  return (
    <span class={`badge tone-${tone}${plain ? ' plain' : ''}`} title={title}>
      <Shape mark={mark} />
      {word}
    </span>
  );
}

/** A fact that is no state: a label, a capability. */
export function Chip({ children, title }: { children: ComponentChildren; title?: string }) {
  return (
    <span class="chip" title={title}>
      {children}
    </span>
  );
}
