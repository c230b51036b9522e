// An agent that works by itself: reports its progress, answers calls, drains, stops when it is cut off, says goodbye.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
	"mycosoft.dev/orchestrator/client"
	"mycosoft.dev/orchestrator/tracing"
)

var spec = &agentv1.AgentSpec{
	DisplayName:  "Go example",
	Kind:         "summarizer",
	Version:      "1.0",
	Labels:       map[string]string{"lang": "go"},
	Capabilities: []*agentv1.Capability{{Name: "summarize", InputTypes: []string{"text/plain"}}},
	Activities:   []*agentv1.Activity{{Name: "summarizing", ProgressBudget: durationpb.New(30 * time.Second)}},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: agent <host:port> [id]")
	}
	id := append(os.Args, "go-1")[2]
	agent := client.New(os.Args[1], id, spec)
	stop := tracing.Start(id)
	leaving, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	// Your agent; here it "reads" ten pages a second, as long as it shall and the work is still its own.
	var pages atomic.Uint64
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			if agent.MayWork() {
				pages.Add(1)
			}
		}
	}()
	agent.Report = func() *agentv1.Report {
		report := &agentv1.Report{Activity: "summarizing", Load: proto.Float64(0.3)}
		report.Progress = []*agentv1.Progress{{Name: "pages", Done: pages.Load()}}
		if agent.Drained() {
			report.Activity = "drained"
		}
		return report
	}
	agent.Handle = summarize

	err := agent.Run(leaving)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// summarize answers a call with the first sentence.
func summarize(_ context.Context, held *client.Held) (any, error) {
	text := held.Message.GetData().GetText()
	if held.Message.Type != "summarize" || text == "" {
		return nil, client.Declined{Why: "takes messages of the type summarize, with text"}
	}
	first, _, _ := strings.Cut(text, ".")
	return first + ".", nil
}
