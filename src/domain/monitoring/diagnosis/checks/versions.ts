import {
  Finding_Severity,
  type ReplicaStatus,
} from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { HostReading } from '../../../../lib/host.ts';
import type { Check, Found } from '../check.ts';
import { few } from '../words.ts';

export interface VersionsOptions {
  replicas(): ReplicaStatus[];
  host(): Promise<HostReading>;
}

/** `engines` of package.json. */
const LEAST_NODE = [20, 19] as const;

/** Whether all replicas are of one version, on a runtime that is supported. */
export function checkVersions({ replicas, host }: VersionsOptions): Check {
  return {
    id: 'integration.check_versions',
    step: 5,
    async run() {
      const found: Found[] = [];
      const byVersion = new Map<string, string[]>();
      for (const { id, version } of replicas()) {
        const name = version === '' ? 'an earlier one' : version;
        byVersion.set(name, [...(byVersion.get(name) ?? []), id]);
      }
      if (byVersion.size > 1) {
        found.push({
          code: 'replica_versions_differ',
          severity: Finding_Severity.WARNING,
          summary: `The replicas run ${byVersion.size} versions: ${few([...byVersion.keys()])}.`,
          evidence: [...byVersion].map(([version, ids]) => `${version}: ${few(ids)}`),
          advice: 'Two versions side by side are meant for an upgrade: bring it to its end.',
          subjects: [...byVersion.values()].flat(),
        });
      }
      const { nodeVersion } = await host();
      if (!isSupported(nodeVersion)) {
        found.push({
          code: 'node_unsupported',
          severity: Finding_Severity.WARNING,
          summary: `Node.js ${nodeVersion} is older than ${LEAST_NODE.join('.')}.`,
          advice: 'Run this service with a newer Node.js.',
        });
      }
      return {
        found,
        well: `All replicas run ${few([...byVersion.keys()])}, this one on Node.js ${nodeVersion}.`,
      };
    },
  };
}

function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  return major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
}
