import { signal } from '@preact/signals';
import type { Tone } from './badge.tsx';

interface Toast {
  id: number;
  tone: Tone;
  text: string;
}

const toasts = signal<readonly Toast[]>([]);
let last = 0;

/** Says for a while what came of an action; it is read out too. */
export function say(text: string, tone: Tone = 'ok'): void {
  last += 1;
  const id = last;
  toasts.value = [...toasts.value.slice(-3), { id, tone, text }];
  setTimeout(() => dismiss(id), tone === 'bad' ? 12_000 : 5_000);
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, tone, text }) => (
        <div key={id} class={`toast tone-${tone}`}>
          <span>{text}</span>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
