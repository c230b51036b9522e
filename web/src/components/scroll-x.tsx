import type { ComponentChildren } from 'preact';

/** What may be wider than its place scrolls in there, by keyboard too. */
export function ScrollX({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms, and the part around it is the landmark
    // biome-ignore lint/a11y/noNoninteractiveTabindex: who has no mouse could not scroll it otherwise
    <div class="scroll-x" role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
