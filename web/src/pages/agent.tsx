import { Empty } from '../components/card.tsx';

export function AgentPage() {
  return <Empty title="This page is to come" />;
}
