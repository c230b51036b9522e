import { Empty } from '../components/card.tsx';

export function AgentsPage() {
  return <Empty title="This page is to come" />;
}
