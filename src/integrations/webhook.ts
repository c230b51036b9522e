import { createHmac } from 'node:crypto';
import type { SinkConfig } from '../config/monitoring-config.ts';
import type { CloudEvent } from '../domain/monitoring/sinks/envelopes.ts';
import { type Notice, type SinkAdapter, SinkError } from '../domain/monitoring/sinks/ports.ts';
import type { HttpClient } from './http-client.ts';
import { callError, checkAnswer } from './http-errors.ts';
import { httpTarget } from './http-target.ts';
import { SecretFile } from './secret-file.ts';

export interface WebhookOptions {
  config: Pick<SinkConfig, 'url' | 'secret' | 'secretFile' | 'headers'>;
  http: HttpClient;
  wallMs: () => number;
}

const MAX_ANSWER_BYTES = 65_536;
/** Sends that may be under way; the client's connections should be as many. */
export const WEBHOOK_CONCURRENCY = 4;

/** The signature of a body sent at `seconds` (Unix time): "t=<seconds>,v1=<hex of HMAC-SHA256 of "<seconds>.<body>">". */
export function signatureOf(secret: string, seconds: number, body: string): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`;
}

/** POSTs each alert and event as a CloudEvent in the structured mode. */
export function createWebhook(options: WebhookOptions): SinkAdapter {
  const { config, http, wallMs } = options;
  const { shown, url, headers, secrets } = httpTarget(config);
  const file = config.secretFile === undefined ? undefined : new SecretFile(config.secretFile);
  secrets.add(config.secret);
  const secretNow = async (): Promise<string | undefined> => {
    if (file === undefined) return config.secret;
    try {
      const secret = await file.read();
      secrets.add(secret);
      return secret;
    } catch (error) {
      throw new SinkError({ message: error instanceof Error ? error.message : 'secret_file cannot be read' });
    }
  };
  const post = async (event: CloudEvent, signal: AbortSignal): Promise<void> => {
    const body = JSON.stringify(event);
    const secret = await secretNow();
    const signature =
      secret === undefined
        ? {}
        : { 'x-orchestrator-signature': signatureOf(secret, Math.floor(wallMs() / 1000), body) };
    const answer = await http
      .call({
        ...{ url, method: 'POST', body, signal, maxBodyBytes: MAX_ANSWER_BYTES },
        headers: {
          'user-agent': 'mycosoft-orchestrator',
          ...headers,
          'content-type': 'application/cloudevents+json; charset=utf-8',
          ...signature,
        },
      })
      .catch((error: unknown) => {
        throw callError(error, url, secrets);
      });
    checkAnswer(answer, url, secrets);
  };
  return {
    kind: 'webhook',
    target: shown,
    batch: 1,
    concurrency: WEBHOOK_CONCURRENCY,
    resends: false,
    sendAlerts: async (notices: readonly Notice[], signal) => {
      for (const { event } of notices) await post(event, signal);
    },
    sendEvent: post,
    close: () => http.close(),
  };
}
