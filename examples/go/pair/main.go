// Two agents that call each other: `go run ./pair SERVER ID [PEER]`, started twice, each with the other as its peer.
//
// Whoever is asked "ask" with hops left asks its own peer first, and answers with the way that the question went.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
	"mycosoft.dev/orchestrator/client"
	"mycosoft.dev/orchestrator/tracing"
)

type question struct {
	Hops int `json:"hops"`
}

type answer struct {
	Way []string `json:"way"`
}

type pair struct {
	agent *client.Agent
	peer  string
}

func main() {
	log.SetFlags(0)
	arguments := append(os.Args[1:], []string{"127.0.0.1:50051", "go-1", ""}[min(len(os.Args)-1, 3):]...)
	spec := &agentv1.AgentSpec{
		DisplayName: "Go pair", Kind: "pair", Version: "1.0", Labels: map[string]string{"lang": "go"},
		Capabilities: []*agentv1.Capability{{Name: "ask"}},
	}
	p := &pair{agent: client.New(arguments[0], arguments[1], spec), peer: arguments[2]}
	p.agent.Handle = p.handle
	stop := tracing.Start(p.agent.ID)
	leaving, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	go p.talk(leaving)
	err := p.agent.Run(leaving)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// handle takes a message; what it returns is the answer, if somebody waits for one.
func (p *pair) handle(ctx context.Context, held *client.Held) (any, error) {
	switch held.Message.Type {
	case "greeting":
		fmt.Println(held.Message.Source, "says", held.Message.Data.GetText())
		return nil, nil
	case "ask":
		var asked question
		if err := client.Decode(held.Message.Data, &asked); err != nil {
			return nil, client.Declined{Why: "takes {hops}: " + err.Error()}
		}
		way := []string{p.agent.ID}
		if asked.Hops > 0 && p.peer != "" {
			further, err := p.ask(ctx, asked.Hops-1)
			if err != nil {
				return nil, err
			}
			way = append(way, further...)
		}
		return answer{Way: way}, nil
	}
	return nil, client.Declined{Why: "does not know messages of the type " + held.Message.Type}
}

func (p *pair) ask(ctx context.Context, hops int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := p.agent.Call(ctx, client.ToAgent(p.peer), "ask", question{Hops: hops})
	if err != nil {
		return nil, err
	}
	var got answer
	err = client.Decode(output, &got)
	return got.Way, err
}

// talk greets everybody once, then asks the peer every two seconds.
func (p *pair) talk(ctx context.Context) {
	if err := p.agent.Subscribe(ctx, "greetings.*"); err != nil {
		log.Print("not subscribed: ", err)
	}
	if err := p.agent.Send(ctx, client.ToTopic("greetings.go"), "greeting", "hello from "+p.agent.ID); err != nil {
		log.Print("not greeted: ", err)
	}
	for p.peer != "" && ctx.Err() == nil {
		way, err := p.ask(ctx, 1)
		switch reason := client.Reason(err); {
		case err == nil:
			fmt.Println("asked:", strings.Join(append([]string{p.agent.ID}, way...), " -> "))
		case reason == "AGENT_NOT_FOUND" || reason == "RECEIVER_GONE":
			fmt.Println(p.peer, "is not there")
		default:
			log.Print("not asked: ", err)
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
	}
}
