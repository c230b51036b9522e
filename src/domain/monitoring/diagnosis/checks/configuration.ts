import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Config } from '../../../../config/config.ts';
import type { Check, Found } from '../check.ts';
import { time } from '../words.ts';

export type ConfigurationOptions = Pick<
  Config,
  | 'session'
  | 'deliveries'
  | 'grpc'
  | 'http'
  | 'capabilities'
  | 'brake'
  | 'history'
  | 'events'
  | 'monitoringIntervalMs'
  | 'failures'
>;

/** What is allowed and rarely meant. */
export function checkConfiguration(config: ConfigurationOptions): Check {
  return {
    id: 'integration.check_configuration',
    step: 5,
    async run() {
      return {
        found: [...times(config), ...open(config), ...off(config)],
        well: 'No setting looks like a mistake.',
      };
    },
  };
}

const odd = (summary: string, advice: string, key: string): Found => ({
  code: 'configuration_odd',
  severity: Finding_Severity.WARNING,
  summary,
  advice,
  subjects: [key],
});

function times({
  session,
  deliveries,
  failures,
  monitoringIntervalMs,
  history,
}: ConfigurationOptions): Found[] {
  const { leaseMs, pingIntervalMs, reconnectGraceMs, recoveryGraceMs } = session;
  const found: Found[] = [];
  if (leaseMs < 4 * pingIntervalMs) {
    found.push(
      odd(
        `session.lease (${time(leaseMs)}) leaves room for fewer than four pings (session.ping_interval, ${time(pingIntervalMs)}): one lost answer and a slow one make an agent LOST.`,
        'Make the lease at least five ping intervals long.',
        'session.lease',
      ),
    );
  }
  if (recoveryGraceMs < reconnectGraceMs) {
    found.push(
      odd(
        `session.recovery_grace (${time(recoveryGraceMs)}) is shorter than session.reconnect_grace (${time(reconnectGraceMs)}): after a restart of the service agents have less time to return than after a broken stream.`,
        'Make it at least as long.',
        'session.recovery_grace',
      ),
    );
  }
  if (deliveries.expireAfterMs < deliveries.acceptWithinMs * deliveries.maxTries) {
    found.push(
      odd(
        `deliveries.expire_after (${time(deliveries.expireAfterMs)}) is over before deliveries.max_tries tries (${deliveries.maxTries}) of deliveries.accept_within (${time(deliveries.acceptWithinMs)}) can be made.`,
        'Make expire_after longer, or the tries fewer.',
        'deliveries.expire_after',
      ),
    );
  }
  if (failures.quarantineWindowMs < failures.restartMinBackoffMs * failures.quarantineMaxFailures) {
    found.push(
      odd(
        `failures.quarantine_window (${time(failures.quarantineWindowMs)}) is over before ${failures.quarantineMaxFailures} restarts can fail: nobody is ever set aside.`,
        'Make the window longer.',
        'failures.quarantine_window',
      ),
    );
  }
  if (history.rawMs > 0 && monitoringIntervalMs > history.rawMs) {
    found.push(
      odd(
        `monitoring_interval (${time(monitoringIntervalMs)}) is longer than raw history is kept (history.raw, ${time(history.rawMs)}).`,
        'Make it shorter.',
        'monitoring_interval',
      ),
    );
  }
  return found;
}

/** Anybody who reaches it may steer the fleet. */
function open({ grpc, http }: ConfigurationOptions): Found[] {
  const bare = [
    { key: 'grpc.listen', ...grpc },
    { key: 'http.listen', ...http },
  ].filter(({ listen, tls }) => tls === undefined && !isLoopback(listen));
  if (bare.length === 0) return [];
  return [
    {
      code: 'listener_without_tls',
      severity: Finding_Severity.INFO,
      summary: 'Other machines can reach this service without TLS.',
      evidence: bare.map(({ key, listen }) => `${key}: ${listen}`),
      advice: 'Set tls.cert_file and tls.key_file, or keep it behind a proxy or a private network.',
      subjects: bare.map(({ key }) => key),
    },
  ];
}

const isLoopback = (listen: string): boolean => /^(?:127\.|localhost:|\[::1\]:)/.test(listen);

function off({ capabilities, brake, failures }: ConfigurationOptions): Found[] {
  const found: Found[] = [];
  const all = ['system_coordination', 'agent_management', 'monitoring', 'resource_management'] as const;
  const missing = all.filter((name) => !capabilities.includes(name));
  if (missing.length > 0) {
    found.push({
      code: 'capabilities_off',
      severity: Finding_Severity.INFO,
      summary: `This replica does not serve ${missing.join(', ')}.`,
      subjects: missing,
    });
  }
  if (failures.quarantine === 'off') {
    found.push({
      code: 'quarantine_off',
      severity: Finding_Severity.INFO,
      summary: 'Agents that fail again and again are not set aside (failures.quarantine: off).',
    });
  }
  if (brake.share >= 1) {
    found.push({
      code: 'brake_off',
      severity: Finding_Severity.WARNING,
      summary: 'Nothing holds automatic action back at a mass failure (brake.share is 1).',
      advice: 'Set it to 0.5.',
    });
  }
  return found;
}
