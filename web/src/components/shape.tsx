/** Marks that tell states apart by form; the colour comes from the tone of what is around them. */
const MARKS = {
  dot: <circle cx="8" cy="8" r="5" fill="currentColor" />,
  ring: <circle cx="8" cy="8" r="4.300" fill="none" stroke="currentColor" stroke-width="1.6" />,
  half: (
    <g>
      <circle cx="8" cy="8" r="4.300" fill="none" stroke="currentColor" stroke-width="1.6" />
      <path d="M8 3.700a4.300 4.300 0 0 1 0 8.600z" fill="currentColor" />
    </g>
  ),
  triangle: <path d="M8 2.200 14.300 13.300H1.700z" fill="currentColor" />,
  cross: (
    <path
      d="m4 4 8 8m0-8-8 8"
      stroke="currentColor"
      stroke-width="2.400"
      stroke-linecap="round"
      fill="none"
    />
  ),
  dash: <path d="M4 8h8" stroke="currentColor" stroke-width="2.200" stroke-linecap="round" />,
  broken: (
    <circle
      cx="8"
      cy="8"
      r="4.500"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-dasharray="3.2 2.450"
    />
  ),
  check: (
    <path
      d="m3.500 8.500 3 3 6-7"
      fill="none"
      stroke="currentColor"
      stroke-width="2.100"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  ),
  pause: <path d="M4.500 3.500h2.300v9H4.500zm4.700 0h2.300v9H9.200z" fill="currentColor" />,
  play: <path d="M4.800 3.200v9.600L12.600 8z" fill="currentColor" />,
  square: <rect x="3.800" y="3.800" width="8.400" height="8.400" rx="1.300" fill="currentColor" />,
  diamond: <path d="M8 2 14 8l-6 6-6-6z" fill="currentColor" />,
  clock: (
    <g fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round">
      <circle cx="8" cy="8" r="5.300" />
      <path d="M8 5v3.200l2 1.300" />
    </g>
  ),
} as const;

export type Mark = keyof typeof MARKS;

export function Shape({ mark }: { mark: Mark }) {
  return (
    <svg class="shape" viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
      {MARKS[mark]}
    </svg>
  );
}
