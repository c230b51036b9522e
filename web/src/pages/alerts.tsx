import { Empty } from '../components/card.tsx';

export function AlertsPage() {
  return <Empty title="This page is to come" />;
}
