import { Tabs } from '../components/tabs.tsx';
import { place } from '../router.ts';
import { firingCount } from '../store/figures.ts';
import { silences } from '../store/live.ts';
import { AlertList } from './alerts/alert-list.tsx';
import { RuleTable } from './alerts/rule-table.tsx';
import { SilenceTable } from './alerts/silence-table.tsx';
import { SinkTable } from './alerts/sink-table.tsx';

/** What calls for somebody, what is kept quiet, by which rules, and where it is sent. */
export function AlertsPage() {
  const tab = place.value.query.get('tab') ?? '';
  silences.version.value;
  return (
    <div class="tabbed">
      <Tabs
        chosen={tab}
        tabs={[
          { id: '', word: 'Alerts', count: firingCount.value },
          { id: 'silences', word: 'Silences', count: silences.size },
          { id: 'rules', word: 'Rules' },
          { id: 'sinks', word: 'Sinks' },
        ]}
      />
      {tab === '' && <AlertList />}
      {tab === 'silences' && <SilenceTable />}
      {tab === 'rules' && <RuleTable />}
      {tab === 'sinks' && <SinkTable />}
    </div>
  );
}
