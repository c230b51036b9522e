import type { AlertSink } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  Finding_Severity,
  type ServiceStatus,
  ServiceStatus_State,
} from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromDuration } from '../../../../lib/proto-time.ts';
import type { Check, Found } from '../check.ts';
import type { ExporterHealth } from '../ports.ts';
import { count, few, time } from '../words.ts';

/** Whether alerts and events reach where they are sent. */
export function checkSinks(sinks: () => readonly AlertSink[]): Check {
  return {
    id: 'integration.check_sinks',
    step: 5,
    async run() {
      const all = sinks();
      const found = all.filter(({ healthy }) => !healthy).map(failing);
      return { found, well: `${count(all.length, 'sink')}, each took what was last sent to it.` };
    },
  };
}

function failing({ name, kind, target, error, failures, waiting }: AlertSink): Found {
  return {
    code: 'sink_failing',
    severity: Finding_Severity.WARNING,
    summary: `Sink ${name} (${kind}) does not take what is sent to it.`,
    evidence: [
      ...(target === '' ? [] : [`target ${target}`]),
      ...(error === '' ? [] : [error]),
      `${count(failures, 'try', 'tries')} in a row failed, ${waiting} wait`,
    ],
    advice: 'See whether it runs, and its address and secret in alerts.sinks.',
    subjects: [name],
  };
}

/** Whether the things that are no agents are well. */
export function checkServices(services: () => readonly ServiceStatus[]): Check {
  return {
    id: 'integration.check_services',
    step: 5,
    async run() {
      const all = services();
      const found = all.flatMap(ill);
      const well =
        all.length === 0
          ? 'No system services are named in the configuration.'
          : `${count(all.length, 'system service')}, each answers in time.`;
      return { found, well };
    },
  };
}

function ill({ name, probe, target, state, detail, latency, age, failures }: ServiceStatus): Found[] {
  const evidence = [
    `${probe} probe of ${target}`,
    ...(detail === '' ? [] : [detail]),
    ...(latency === undefined ? [] : [`it last answered in ${time(msFromDuration(latency))}`]),
    ...(failures === 0 ? [] : [`${count(failures, 'probe')} in a row failed`]),
  ];
  const subjects = [name];
  switch (state) {
    case ServiceStatus_State.DOWN:
      return [
        {
          code: 'service_down',
          severity: Finding_Severity.CRITICAL,
          summary: `System service ${name} is down.`,
          evidence,
          advice: 'See whether it runs and can be reached from the machines of the replicas.',
          subjects,
        },
      ];
    case ServiceStatus_State.SLOW:
      return [
        {
          code: 'service_slow',
          severity: Finding_Severity.WARNING,
          summary: `System service ${name} is slow.`,
          evidence,
          subjects,
        },
      ];
    case ServiceStatus_State.STALE:
      return [
        {
          code: 'service_stale',
          severity: Finding_Severity.WARNING,
          summary: `Nobody has asked system service ${name} for ${time(age === undefined ? 0 : msFromDuration(age))}.`,
          evidence,
          advice: 'See who holds the lease services of _system.',
          subjects,
        },
      ];
    default:
      return [];
  }
}

/** Whether telemetry arrives where it is exported to. */
export function checkExporters(exporters: () => readonly ExporterHealth[]): Check {
  return {
    id: 'integration.check_exporters',
    step: 5,
    async run() {
      const all = exporters();
      const found = all
        .filter(({ healthy }) => healthy === false)
        .map(
          ({ signal, target, failures, error }): Found => ({
            code: 'exporter_failing',
            severity: Finding_Severity.WARNING,
            summary: `OpenTelemetry ${signal} cannot be exported.`,
            evidence: [
              `target ${target}`,
              ...(error === '' ? [] : [error]),
              `${count(failures, 'export')} in a row failed`,
            ],
            advice: 'See whether the collector runs, and OTEL_EXPORTER_OTLP_ENDPOINT and its protocol.',
            subjects: [signal],
          }),
        );
      const names = all.map(({ signal, healthy }) =>
        healthy === undefined ? `${signal} (nothing exported yet)` : signal,
      );
      const well =
        all.length === 0 ? 'Nothing is exported; /metrics can be scraped.' : `Exported: ${few(names)}.`;
      return { found, well };
    },
  };
}
