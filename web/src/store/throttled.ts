import { effect, type ReadonlySignal, signal } from '@preact/signals';

/** A signal that follows another one, at most every so many milliseconds: what costs to draw hangs on it. */
export function throttled<T>(source: ReadonlySignal<T>, everyMs: number): ReadonlySignal<T> {
  const follower = signal(source.peek());
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = Number.NEGATIVE_INFINITY;
  effect(() => {
    source.value;
    if (timer !== undefined) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        last = performance.now();
        follower.value = source.peek();
      },
      Math.max(0, last + everyMs - performance.now()),
    );
  });
  return follower;
}
