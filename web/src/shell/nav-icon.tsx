import type { JSX } from 'preact';

const ICONS: Readonly<Record<string, JSX.Element>> = {
  '': <path d="M3 3h6v7H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 12h6v5H3z" />,
  agents: (
    <path d="M10 3v2M5 7h10a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1zM7.500 10.500v1.500M12.500 10.500v1.500M2 10.500v3M18 10.500v3" />
  ),
  topology: (
    <path d="M8 4.500a2 2 0 1 0 4 0a2 2 0 1 0-4 0M3 15.500a2 2 0 1 0 4 0a2 2 0 1 0-4 0M13 15.500a2 2 0 1 0 4 0a2 2 0 1 0-4 0M9 6.300 6 13.700M11 6.300l3 7.400M7 15.500h6" />
  ),
  tasks: <path d="M3 5.500 4.500 7 7 4M3 12.500 4.500 14 7 11M10 5.500h7M10 12.500h7" />,
  resources: <path d="M3 16V9M8 16V4M13 16v-5M17.500 16V7M2 17.500h16.500" />,
  operations: <path d="M10 3a7 7 0 1 1-6.500 4.400M3 3v4.500h4.500M8.500 7.500v5l4-2.500z" />,
  alerts: <path d="M5 13.500V9a5 5 0 0 1 10 0v4.500l1.500 1.500h-13zM8.500 17.500h3" />,
  events: <path d="M4 4v13M4 5.500h4M4 10.500h7M4 15.500h5M11 5.500h6M14 10.500h3M12 15.500h5" />,
};

export function NavIcon({ name }: { name: string }) {
  return (
    <svg class="nav-icon" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
      <g
        fill="none"
        stroke="currentColor"
        stroke-width="1.500"
        stroke-linecap="round"
        stroke-linejoin="round"
      >
        {ICONS[name]}
      </g>
    </svg>
  );
}
