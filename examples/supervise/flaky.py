"""An ordinary program that knows nothing of any orchestrator, and fails every few seconds."""
import random, sys, time

lifetime = float(sys.argv[1]) if len(sys.argv) > 1 else 3
ends = time.monotonic() + random.uniform(0.5, 1.5) * lifetime
pages = 0
while time.monotonic() < ends:
    time.sleep(0.1)
    pages += 1
    print(f"read page {pages}", flush=True)
raise RuntimeError(f"page {pages + 1} cannot be read")
