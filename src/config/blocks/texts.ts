import { shown } from '../errors.ts';
import { METRIC_NAMES } from '../metric-names.ts';
import { selectorFault } from '../selector.ts';
import { didYouMean } from '../suggest.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** A name: of a rule, a sink, a service. */
export function nameFault(text: string): string | undefined {
  if (NAME.test(text) && text.length <= 64) return undefined;
  return `must hold at most 64 letters, digits, ".", "_" and "-" and start with a letter or digit, not ${shown(text)}`;
}

export function namespaceFault(text: string): string | undefined {
  if (text === '_system' || (NAME.test(text) && text.length <= 64)) return undefined;
  return `${shown(text)} is not a namespace`;
}

export function metricFault(text: string): string | undefined {
  const names = METRIC_NAMES.map(({ name }) => name);
  return names.includes(text) ? undefined : `${shown(text)} is not a metric${didYouMean(text, names)}`;
}

export function eventTypeFault(text: string): string | undefined {
  if (text.length <= 128 && /^(?:\*|[a-z0-9_]+(?:\.[a-z0-9_]+)*(?:\.\*)?)$/.test(text)) return undefined;
  return `${shown(text)} is not a type of events such as "agent.lost" or "agent.*"`;
}

export function labelSelectorFault(text: string): string | undefined {
  if (selectorFault(text) === undefined) return undefined;
  return `${shown(text)} is not a label selector such as "env=prod,tier in (a, b),!old"`;
}

const OWN_LABELS = ['alertname', 'severity', 'namespace', 'rule'];
const SUBJECT_LABELS = ['agent_id', 'zone', 'replica', 'service', 'resource', 'sink', 'metric'];

/** Names of labels that alerts get by their rules: those that Prometheus and Alertmanager take. */
export function alertLabelFault(name: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name) || name.startsWith('__')) {
    return 'is not a name of letters, digits and "_" that starts with a letter';
  }
  const own = OWN_LABELS.includes(name) || SUBJECT_LABELS.includes(name);
  return own ? 'is a label that every alert or its subject has by itself' : undefined;
}

/** What is wrong with an address of HTTP; the text is never repeated, it may hold a password. */
export function httpUrlFault(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || !/^https?:\/\/[^/]/i.test(text)) {
    return 'must be a URL: http://host[:port]/path or https://…';
  }
  return url.hash === '' ? undefined : 'must have nothing after a "#"';
}

/** A page for people: no password belongs there. */
export function pageUrlFault(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) return 'must be a URL: https://host/path';
  return url.username === '' && url.password === '' ? undefined : 'must not hold a user or password';
}

const OWN_HEADERS = ['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'expect', 'te'];

export function headerNameFault(name: string): string | undefined {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(name)) return 'is not the name of a header';
  return OWN_HEADERS.includes(name.toLowerCase())
    ? 'is a header that every request has by itself'
    : undefined;
}

/** The value may be a secret. */
export function headerValueFault(text: string): string | undefined {
  return /^[\u0020-\u007e\u0080-\u00ff]*$/.test(text) ? undefined : 'holds characters that a header cannot';
}
