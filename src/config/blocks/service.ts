import { parseRedisUrl } from '../../lib/redis-url.ts';
import { parseListen } from '../values.ts';
import type { BlockSpec, CheckedBlock, FieldSpec } from './spec.ts';
import { headerNameFault, headerValueFault, httpUrlFault, nameFault } from './texts.ts';

const SLOW_MS = 1_000;
const TIMEOUT_MS = 3_000;

const fields: readonly FieldSpec[] = [
  {
    ...{ name: 'name', to: 'name', kind: 'text', required: true, max: 64, check: nameFault },
    doc: 'Unique.',
  },
  {
    ...{ name: 'probe', to: 'probe', kind: 'choice', required: true },
    choices: ['http', 'tcp', 'grpc', 'redis'],
    doc: 'How it is asked.',
  },
  {
    ...{ name: 'target', to: 'target', kind: 'text', required: true, secret: 'url', words: 'URL or address' },
    doc: 'Whom: http: a URL. tcp: `host:port`. grpc: `host:port`, or `grpc://` (TLS: `grpcs://`) with the name of the service as its path. redis: `redis://…` or `rediss://…`. Passwords and parameters are never shown.',
  },
  {
    ...{ name: 'interval', to: 'intervalMs', kind: 'duration', default: 15_000, min: 1_000, max: 3_600_000 },
    doc: 'How often; not shorter than `timeout`.',
  },
  {
    ...{ name: 'timeout', to: 'timeoutMs', kind: 'duration', default: TIMEOUT_MS, min: 50, max: 60_000 },
    doc: 'How long an answer may take.',
  },
  {
    ...{ name: 'slow', to: 'slowMs', kind: 'duration', default: SLOW_MS, min: 1, max: 60_000 },
    doc: 'An answer that takes longer makes it SLOW; not longer than `timeout`.',
  },
  {
    ...{ name: 'failures', to: 'failures', kind: 'integer', default: 2, min: 1, max: 100 },
    doc: 'So many in a row make it DOWN; two answers in a row (one, if it is 1) bring it back.',
  },
  {
    ...{ name: 'expect_status', to: 'expectStatus', kind: 'range', default: [200, 399], min: 100, max: 599 },
    words: 'whole number or [from, to]',
    doc: 'http: the status that is well, from 100 to 599.',
  },
  {
    ...{ name: 'headers', to: 'headers', kind: 'map', max: 16, secret: 'all' },
    ...{ checkName: headerNameFault, check: headerValueFault },
    words: 'names with a text each',
    doc: 'http: further headers. Their values are never shown.',
  },
  {
    ...{ name: 'description', to: 'description', kind: 'prose', default: '', max: 1_000, min: 0 },
    doc: 'For people.',
  },
];

export const SERVICE_BLOCKS: BlockSpec = {
  noun: 'service',
  max: 64,
  fields,
  check: checkService,
  intro: 'Things that are no agents and are watched over; see [system services](services.md).',
};

function checkService(block: CheckedBlock): void {
  const { values } = block;
  const { probe, target } = values as { probe?: string; target?: string };
  if (probe !== undefined && target !== undefined) {
    const fault = targetFault(probe, target);
    if (fault !== undefined) block.fault('target', fault);
  }
  if (probe !== undefined && probe !== 'http') {
    for (const name of ['expect_status', 'headers']) {
      if (block.has(name)) block.fault(name, `belongs to http, not to ${probe}`);
    }
  }
  if (block.wrong('timeout')) return;
  const { timeoutMs, intervalMs } = values as { timeoutMs: number; intervalMs: number };
  if (intervalMs < timeoutMs && !block.wrong('interval')) {
    block.fault(block.has('interval') ? 'interval' : 'timeout', 'interval must not be shorter than timeout');
  }
  if (block.has('slow') && !block.wrong('slow') && (values.slowMs as number) > timeoutMs) {
    block.fault('slow', 'must not be longer than timeout: it would never be slow, only silent');
  }
}

/** What is wrong with whom a probe asks; nothing of it is repeated. */
function targetFault(probe: string, target: string): string | undefined {
  switch (probe) {
    case 'http':
      return httpUrlFault(target);
    case 'tcp':
      return addressFault(target);
    case 'redis': {
      const url = parseRedisUrl(target);
      if ('fault' in url) return url.fault;
      return url.master === undefined ? undefined : 'must name the server itself, not its Sentinels';
    }
    default:
      return grpcFault(target);
  }
}

function addressFault(text: string): string | undefined {
  const address = parseListen(text);
  return address !== undefined && address.port > 0 ? undefined : 'must be "host:port" or "[IPv6]:port"';
}

function grpcFault(text: string): string | undefined {
  const [, address = text, service = ''] = /^grpcs?:\/\/([^/]*)(?:\/(.*))?$/i.exec(text) ?? [];
  if (addressFault(address) !== undefined) {
    return 'must be "host:port", or grpc://host:port or grpcs://host:port with the name of a service as its path';
  }
  return /^[\w.-]{0,256}$/.test(service) ? undefined : 'names a service that is none: "package.Service"';
}
