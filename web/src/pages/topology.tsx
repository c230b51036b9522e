import { Empty } from '../components/card.tsx';

export function TopologyPage() {
  return <Empty title="This page is to come" />;
}
