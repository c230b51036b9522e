/** Every line of the requirements, by section, as docs/requirements.md must name it. */
const FOUR_AREAS = ['System Coordination', 'Agent Management', 'System Monitoring', 'Resource Management'];

const byArea = (lines: readonly (readonly string[])[]): string[] =>
  lines.flatMap((items, area) => items.map((item) => `${FOUR_AREAS[area]}: ${item}`));

export const REQUIREMENTS: Readonly<Record<string, readonly string[]>> = {
  Overview: [
    'central coordination system for the Mycosoft MAS',
    'agent interactions',
    'system state',
    'overall system coordination',
  ],
  Purpose: [
    'Coordinate agent interactions',
    'Manage system state',
    'Handle system-wide operations',
    'Ensure system stability',
    'Monitor system health',
  ],
  'Core functions': [
    'coordinate_system',
    'manage_agent_interactions',
    'update_system_state',
    'handle_system_operations',
    'monitor_system_health',
    'manage_agents',
    'register_agents',
    'coordinate_agent_communications',
    'monitor_agent_health',
    'handle_agent_failures',
    'monitor_system',
    'collect_system_metrics',
    'analyze_system_status',
    'handle_system_alerts',
    'update_system_dashboard',
  ].map((name) => `\`${name}\``),
  Capabilities: byArea([
    ['Manage agent interactions', 'Coordinate operations', 'Handle system state', 'Ensure stability'],
    ['Register agents', 'Monitor health', 'Handle failures', 'Manage communications'],
    ['Track performance', 'Monitor health', 'Generate alerts', 'Update dashboards'],
    ['Allocate resources', 'Monitor usage', 'Optimize allocation', 'Handle constraints'],
  ]),
  Configuration: [
    'id',
    'name',
    'capabilities',
    'relationships',
    'databases.system',
    'databases.agents',
    'databases.monitoring',
    'update_interval',
    'monitoring_interval',
    'alert_thresholds.system_load',
    'alert_thresholds.agent_health',
    'alert_thresholds.resource_usage',
    'alert_thresholds.communication_latency',
  ].map((key) => `\`orchestrator.${key}\``),
  'Integration points': [
    ...['Manage lifecycle', 'Coordinate interactions', 'Monitor health', 'Handle failures'].map(
      (line) => `All Agents: ${line}`,
    ),
    ...['Monitor health', 'Track performance', 'Generate alerts', 'Update status'].map(
      (line) => `System Services: ${line}`,
    ),
    ...['Export metrics', 'Share status', 'Handle integrations', 'Provide APIs'].map(
      (line) => `External Systems: ${line}`,
    ),
  ],
  'Rules and guidelines': byArea([
    ['Maintain stability', 'Handle failures', 'Ensure consistency', 'Monitor performance'],
    ['Follow protocols', 'Monitor health', 'Handle failures', 'Maintain records'],
    ['Track metrics', 'Generate alerts', 'Update dashboards', 'Maintain history'],
    ['Optimize allocation', 'Monitor usage', 'Handle constraints', 'Report status'],
  ]),
  'Best practices': byArea([
    ['Plan carefully', 'Monitor closely', 'Handle failures', 'Maintain stability'],
    ['Register properly', 'Monitor health', 'Handle failures', 'Maintain records'],
    ['Track continuously', 'Alert promptly', 'Update regularly', 'Maintain history'],
    ['Allocate efficiently', 'Monitor usage', 'Optimize regularly', 'Report status'],
  ]),
  'Example usage': [
    '`initialize`',
    '`register_capabilities`',
    '`RequestType.COORDINATION`',
    '`RequestType.AGENT_MANAGEMENT`',
    '`RequestType.MONITORING`',
  ],
  'Troubleshooting: common issues': byArea([
    ['Check interactions', 'Verify state', 'Monitor stability', 'Review operations'],
    ['Check registration', 'Verify health', 'Monitor failures', 'Review communications'],
    ['Check metrics', 'Verify alerts', 'Monitor dashboards', 'Review history'],
    ['Check allocation', 'Verify usage', 'Monitor constraints', 'Review optimization'],
  ]),
  'Troubleshooting: debugging steps': [
    '1. Check system coordination',
    '2. Verify agent management',
    '3. Monitor system health',
    '4. Review resource allocation',
    '5. Check integration points',
  ],
};
