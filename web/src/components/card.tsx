import type { ComponentChildren } from 'preact';

export interface CardProps {
  title: string;
  /** Beside the title: a link, an age, a choice. */
  aside?: ComponentChildren;
  /** Without room around what it holds: for tables. */
  flush?: boolean;
  class?: string;
  children: ComponentChildren;
}

/** A part of a page with a heading of its own. */
export function Card({ title, aside, flush = false, class: more = '', children }: CardProps) {
  return (
    <section class={`card${flush ? ' flush' : ''} ${more}`} aria-label={title}>
      <header class="card-head">
        <h2>{title}</h2>
        {aside !== undefined && <div class="card-aside">{aside}</div>}
      </header>
      <div class="card-body">{children}</div>
    </section>
  );
}

/** What stands where there is nothing to show: what it means, and what to do. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <div class="empty-text">{children}</div>}
    </div>
  );
}

/** While the first news is awaited. */
export function Loading({ what }: { what: string }) {
  return (
    <p class="loading" role="status">
      Waiting for {what}…
    </p>
  );
}

/** Names and values. */
export function Facts({ children }: { children: ComponentChildren }) {
  return <dl class="facts">{children}</dl>;
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
