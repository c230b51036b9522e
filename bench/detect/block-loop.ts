// Loaded into the service with `node --import`: SIGUSR2 blocks its event loop for five seconds.
const blockMs = 5_000;

process.on('SIGUSR2', () => {
  const endMs = performance.now() + blockMs;
  while (performance.now() < endMs);
});
