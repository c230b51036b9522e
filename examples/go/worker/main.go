// An agent that takes tasks: worker <host:port> [id]. Each task is a list of words to count, and costs a token a word. Told
// {"words": [...], "seconds": 0.5}, it takes so long for each word: time to look on, to cancel, or to kill it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
	"mycosoft.dev/orchestrator/client"
	"mycosoft.dev/orchestrator/tracing"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: worker <host:port> [id]")
	}
	id := append(os.Args, "worker-go")[2]
	agent := client.New(os.Args[1], id, &agentv1.AgentSpec{
		DisplayName: "Go worker", Kind: "worker", Version: "1.0", Labels: map[string]string{"lang": "go"},
		Capabilities: []*agentv1.Capability{{Name: "count-words", Version: "1.0"}},
	})
	agent.Work, agent.Concurrency = count, 2
	stop := tracing.Start(id)
	leaving, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	err := agent.Run(leaving)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// count is given a task; what it returns is the task's output.
func count(ctx context.Context, task *client.Task) (any, error) {
	var input struct {
		Words   []string
		Seconds float64
	}
	if err := client.Decode(task.Input, &input); err != nil || input.Words == nil {
		return nil, client.Permanent{Why: `the input must be {"words": [...]}`}
	}
	fmt.Printf("task %s attempt %d: %d words\n", task.Id, task.Attempt, len(input.Words))
	counts := map[string]int{}
	for i, word := range input.Words {
		if _, costs := task.Budgets["tokens"]; costs {
			switch err := task.Spend(ctx, "tokens", 1); {
			case errors.Is(err, client.BudgetSpent): // of a task that may go on without
				return map[string]any{"counts": counts, "left_out": len(input.Words) - i}, nil
			case err != nil:
				return nil, err
			}
		}
		select { // the work
		case <-time.After(time.Duration(input.Seconds * float64(time.Second))):
		case <-ctx.Done(): // cancelled, late, or the agent counts as lost
			fmt.Printf("task %s is not wanted any more\n", task.Id)
			return nil, ctx.Err()
		}
		counts[word]++
		task.Progress(uint64(i+1), uint64(len(input.Words)), "words")
	}
	return map[string]any{"counts": counts}, nil
}
