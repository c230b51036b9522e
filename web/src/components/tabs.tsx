import { href, place } from '../router.ts';

export interface TabsProps {
  chosen: string;
  tabs: readonly { id: string; word: string; count?: number }[];
}

/** Parts of a page, each with an address of its own ("?tab="). */
export function Tabs({ chosen, tabs }: TabsProps) {
  return (
    <nav class="tabs" aria-label="Parts of this page">
      {tabs.map(({ id, word, count = 0 }) => (
        <a
          key={id}
          href={href(place.value.path, id === '' ? {} : { tab: id })}
          aria-current={id === chosen ? 'page' : undefined}
        >
          {word}
          {count > 0 && <span class="tab-count">{count}</span>}
        </a>
      ))}
    </nav>
  );
}
