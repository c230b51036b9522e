import {
  type SystemStatus,
  SystemStatus_State,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

const { OK, DEGRADED, CRITICAL } = SystemStatus_State;
/** Words and background of each state; white text on each has a contrast of at least 4.5. */
const LOOKS: Readonly<Record<number, readonly [string, string]>> = {
  [OK]: ['ok', '#1a7f37'],
  [DEGRADED]: ['degraded', '#9a6700'],
  [CRITICAL]: ['critical', '#cf222e'],
};
const MAX_LABEL = 48;
/** Of a character and of the space around a text, in pixels: enough for the widest font that is likely. */
const CHARACTER = 7.2;
const PADDING = 14;
const HEIGHT = 20;

/** The state as a small picture: name on the left, state and firing alerts on the right. It holds no script and no link. */
export function statusBadge(status: SystemStatus, namespace: string): string {
  const [state, colour] = LOOKS[status.state] ?? ['unknown', '#57606a'];
  const firing = status.alerts.reduce((sum, alerts) => sum + alerts.firing, 0);
  const alerts = firing === 0 ? '' : ` · ${firing} ${firing === 1 ? 'alert' : 'alerts'}`;
  const label = cut(namespace === '' ? status.orchestratorName : `${status.orchestratorName} / ${namespace}`);
  const message = `${state}${alerts}`;
  const [left, right] = [widthOf(label), widthOf(message)];
  const title = escaped(`${label}: ${message}`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + right}" height="${HEIGHT}" role="img" aria-label="${title}">
<title>${title}</title>
<rect width="${left}" height="${HEIGHT}" fill="#424a53"/>
<rect x="${left}" width="${right}" height="${HEIGHT}" fill="${colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="${left / 2}" y="14">${escaped(label)}</text>
<text x="${left + right / 2}" y="14">${escaped(message)}</text>
</g>
</svg>
`;
}

const widthOf = (text: string): number => Math.round([...text].length * CHARACTER + PADDING);

function cut(text: string): string {
  // Neither control characters nor half of a pair are allowed in XML; marks of direction would turn what follows round.
  const clean = text.toWellFormed().replace(/[\p{Cc}\p{Cf}\p{Cn}]/gu, ' ');
  const characters = [...clean];
  return characters.length <= MAX_LABEL ? clean : `${characters.slice(0, MAX_LABEL - 1).join('')}…`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
